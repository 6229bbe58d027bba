"""What the page's script needs to draw maps: points, colours, neighbours, and the same samples through training."""

import zipfile
from html import escape
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_contrast.cli.report import show
from lightning_contrast.cli.report.look import Look
from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.cli.report.show import Shelf

MOST_CLASSES = 20  # that get a colour each


def maps_of(runs: list[RunFolder], looks: list[Look | None], sheets: list[int], shelf: Shelf) -> list[dict[str, Any]]:
    """One map a run that could be looked at."""
    return [
        _map(number, look, sheets[number], shelf) for number, look in enumerate(looks[: len(runs)]) if look is not None
    ]


def _map(run: int, look: Look, sheet: int, shelf: Shelf) -> dict[str, Any]:
    items = look.items
    span = look.points - look.points.mean(0)
    points = span / span.abs().max().clamp_min(1e-9)
    labels, shown = groups(items.label if items.pairs is None else None, items.names)
    error: list[int] = []
    if look.right is not None:
        error = torch.where(look.known, (~look.right).long(), torch.tensor(2)).tolist()
    return {
        "run": run,
        "method": look.method,
        "x": rounded(points[:, 0]),
        "y": rounded(points[:, 1]),
        "label": labels,
        "names": shown,
        "cluster": look.cluster.tolist(),
        "error": error,
        "titles": [show.title(items, row) for row in range(len(items.z))],
        "neighbours": look.row.tolist(),
        "scores": [rounded(line) for line in look.score],
        "texts": [] if sheet >= 0 or items.texts is None else items.texts,
        "partners": items.partners or [],
        "sheet": sheet,
        "columns": shelf.sheets[sheet].columns if sheet >= 0 else 0,
        "pairs": items.pairs is not None,
        "group": [] if items.pairs is None or items.label is None else items.label.tolist(),
    }


def groups(label: Tensor | None, names: list[str] | None) -> tuple[list[int], list[str]]:
    """Group of each item and the groups' names; beyond the most frequent all are *others*, unknown ones *no label*."""
    if label is None or not bool((label >= 0).any()):
        return [], []
    found, count = label[label >= 0].unique(return_counts=True)
    if len(found) > MOST_CLASSES:
        found = found[count.argsort(descending=True)[: MOST_CLASSES - 1]].sort().values
    told = [names[c] if names is not None and c < len(names) else str(c) for c in found.tolist()]
    place = {c: number for number, c in enumerate(found.tolist())}
    group = [place.get(c, len(told) + (0 if c >= 0 else 1)) for c in label.tolist()]
    return group, [*told, "others", "no label"]


def snapshots_of(runs: list[RunFolder], looks: list[Look | None]) -> list[dict[str, Any]]:
    """The recorded samples in the plane of the last snapshot's two main directions, each turned to fit the next."""
    out = []
    for number, run in enumerate(runs):
        path = run.path / "snapshots.npz"
        if not path.is_file():
            continue
        try:
            with np.load(path, allow_pickle=False) as file:
                held = {key: file[key] for key in file.files}
            steps, z = held["step"], torch.from_numpy(held["embedding"].astype(np.float32))
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            run.notes.append(f"snapshots.npz cannot be read: {escape(str(error))}")
            continue
        if z.dim() != 3 or z.shape[0] != len(steps) or z.shape[1] < 3 or not bool(z.isfinite().all()):
            run.notes.append("snapshots.npz holds no finite embeddings [T, S, F], one a step: not shown")
            continue
        label = torch.from_numpy(held["label"]) if held.get("label", np.zeros(0)).shape == (z.shape[1],) else None
        look = looks[number]
        names = None if look is None else look.items.names
        if look is not None and look.items.pairs is not None:  # labels of pairs say who belongs together
            label = None
        group, told = groups(label, names)
        places = aligned(z)
        out.append(
            {
                "run": number,
                "steps": [int(step) for step in steps],
                "points": [[rounded(p[:, 0]), rounded(p[:, 1])] for p in places],
                "label": group,
                "names": told,
            }
        )
    return out


def aligned(z: Tensor) -> list[Tensor]:
    """Two principal components ``[S, 2]`` of each ``z[t]`` (unit length), turned and mirrored to fit the one after."""
    unit = torch.nn.functional.normalize(z.double(), dim=2)
    flat: list[Tensor] = []
    for one in reversed(list(unit)):
        centred = one - one.mean(0)
        u, s, _ = torch.linalg.svd(centred, full_matrices=False)
        points = torch.zeros(len(one), 2, dtype=torch.float64)
        points[:, : min(2, len(s))] = (u * s)[:, :2]
        if flat:  # orthogonal Procrustes (Schönemann 1966)
            a, _, b = torch.linalg.svd(points.T @ flat[-1])
            points = points @ (a @ b)
        flat.append(points)
    return flat[::-1]


def rounded(values: Tensor) -> list[float]:
    """Three decimals are enough for a screen; what is not finite is 0."""
    return [round(value, 3) for value in values.double().nan_to_num(0, 0, 0).tolist()]
