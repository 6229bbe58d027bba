"""Held-out items of a run with their embeddings: by its checkpoint, else by what its folder has written down."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from lightning_contrast.callbacks.embedding import as_mapping, first_input, key_input
from lightning_contrast.cli.one_process import ONE_PROCESS
from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.cli.report.words import ITEM, shortened, words_of
from lightning_contrast.cli.runs import LAST
from lightning_contrast.data.batch import batch_inputs


@dataclass
class Items:
    """A sample of held-out items; rows of all fields belong together."""

    z: Tensor  # [S, F]
    total: int  # of which they are a sample
    source: str  # in words
    index: Tensor  # int64 [S]
    label: Tensor | None = None  # int64 [S]; below 0 is not known
    pairs: tuple[Tensor, Tensor] | None = None  # embeddings [S, D] of queries and of their partners
    pictures: Tensor | None = None  # in [0, 1], [S, C, H, W]
    texts: list[str] | None = None
    partners: list[str] | None = None  # texts of the partners
    names: list[str] | None = None  # of the classes
    notes: list[str] = field(default_factory=list)

    def kept(self, rows: Tensor) -> "Items":
        """Only these rows."""
        return Items(
            self.z[rows],
            self.total,
            self.source,
            self.index[rows],
            None if self.label is None else self.label[rows],
            None if self.pairs is None else (self.pairs[0][rows], self.pairs[1][rows]),
            None if self.pictures is None else self.pictures[rows],
            None if self.texts is None else [self.texts[row] for row in rows.tolist()],
            None if self.partners is None else [self.partners[row] for row in rows.tolist()],
            self.names,
            self.notes,
        )


def items_of(run: RunFolder, sample: int, seed: int, others: list[str], blind: bool = False) -> Items | None:
    """At most ``sample`` items; ``None`` (and why, in the run's notes) where there is nothing to look at."""
    checkpoint = run.path / LAST
    if checkpoint.is_file() and not blind:
        try:
            return by_checkpoint(checkpoint, sample, seed, others)
        except Exception as error:  # whatever is wrong with a run, its page appears
            why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            run.notes.append(f"the checkpoint could not be used on its data ({type(error).__name__}: {why})")
    elif not blind:
        run.notes.append(f"there is no {LAST}, so the held-out data cannot be encoded")
    for name in ("embeddings.npz", "snapshots.npz"):
        try:
            if (run.path / name).is_file():
                found = by_file(run.path / name, sample, seed)
                run.notes += found.notes
                return found
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            run.notes.append(f"{name} cannot be read: {error}")
    if not blind:
        run.notes.append("no map, neighbours or errors: `lightning-contrast predict` writes embeddings.npz for them")
    return None


def by_checkpoint(checkpoint: Path, sample: int, seed: int, others: list[str]) -> Items:
    """Encode a seeded sample of the validation split (the test split where there is none).

    Raises:
        Exception: whatever the user's classes raise.
    """
    from lightning_contrast.cli.evaluate import opened, source_of
    from lightning_contrast.cli.quiet import quiet_lightning

    quiet_lightning()
    cli = opened(checkpoint, [*others, *ONE_PROCESS, "--trainer.accelerator=auto"])
    module, data = cli.model.eval(), cli.datamodule
    loader, ready = held_out_loader(data)
    dataset: Any = loader.dataset
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise ValueError("its held-out data have no length, so they cannot be sampled.")
    rows = drawn(len(dataset), sample, seed)
    few = DataLoader(Subset(dataset, rows.tolist()), batch_size=256, collate_fn=loader.collate_fn)
    parts: list[dict[str, Any]] = []
    with torch.inference_mode():
        for batch in few:
            batch = as_mapping(batch)
            parts.append(read_batch(module, data, batch if ready else data.on_after_batch_transfer(batch, 0), batch))
    joined = {key: _joined([part[key] for part in parts]) for key in parts[0]}
    index = joined.get("index", rows)
    names = getattr(data, "class_names", None)
    texts, partners = joined.get("text"), None
    if texts is None and hasattr(data, "texts"):
        texts = [shortened(str(text)) for text in data.texts(index)]
    if texts is None:
        texts, partners = words_of(dataset, rows.tolist())
    return Items(
        joined["z"],
        len(dataset),
        f"{source_of(data)}, held-out split".replace(str(Path.home()), "~"),
        index,
        joined.get("label"),
        (joined["query"], joined["key"]) if "key" in joined else None,
        joined.get("picture"),
        texts,
        partners,
        None if names is None else [str(name) for name in names],
    )


def held_out_loader(data: Any) -> tuple[Any, bool]:
    """Validation samples, and whether they come out of the loader as the encoder takes them."""
    loader = data.val_dataloader()
    loader = loader[0] if isinstance(loader, (list, tuple)) else loader
    try:
        plain = data.predict_dataloader()  # not augmented
        options = {"batch_size": 256, "collate_fn": plain.collate_fn}
        return DataLoader(loader.dataset, **options), True
    except Exception:  # Lightning's own for a DataModule without one
        return loader, False


def read_batch(module: Any, data: Any, batch: Any, raw: Any) -> dict[str, Any]:
    """Features of a batch, and what is known and can be shown of its items."""
    inputs = first_input(batch)
    out: dict[str, Any] = {"z": module.embed(inputs).float().flatten(1).cpu()}
    for key in ("index", "label"):
        value = batch.get(key)
        if isinstance(value, Tensor) and value.dim() == 1 and not value.is_floating_point():
            out[key] = value.cpu()
    if "input" not in batch and "views" not in batch and len(batch_inputs(batch)) > 1:
        out |= {
            "query": module.project(inputs).float().cpu(),
            "key": module.project_keys(key_input(batch)).float().cpu(),
        }
    if isinstance(inputs, Tensor) and inputs.dim() == 4 and inputs.shape[1] in (1, 3):
        undo = getattr(getattr(data, "normalize", None), "undo", stretched)
        out["picture"] = undo(inputs).clamp(0, 1).cpu()
    for key in ITEM:
        texts = raw.get(key)
        if isinstance(texts, (list, tuple)) and texts and all(isinstance(text, str) for text in texts):
            out["text"] = [shortened(text) for text in texts]
            break
    return out


def by_file(path: Path, sample: int, seed: int) -> Items:
    """Rows of ``embeddings.npz``, or the last of ``snapshots.npz``; read a sample at a time, however many there are.

    Raises:
        ValueError: for a file without embeddings.
        OSError, KeyError, zipfile.BadZipFile: for a broken one.
    """
    with np.load(path, mmap_mode=None, allow_pickle=False) as file:
        held = set(file.files)
        if "embedding" not in held:
            raise ValueError(f"it has {sorted(held)}, but no 'embedding'.")
        known = {key: file[key] for key in ("index", "label") if key in held}
    shape, rows_of = open_member(path, "embedding")
    if len(shape) == 3:
        whole = rows_of(np.array([shape[0] - 1]))[0]
        total, z = shape[1], whole
        rows = drawn(total, sample, seed)
        z = z[rows.numpy()]
    elif len(shape) == 2:
        total = shape[0]
        rows = drawn(total, sample, seed)
        z = rows_of(rows.numpy())
    else:
        raise ValueError(f"its embedding has the shape {shape}, needed is [N, F].")
    items = Items(torch.from_numpy(np.ascontiguousarray(z)).float(), total, f"{path.name} of the run", rows)
    for key, value in known.items():
        if value.shape != (total,) or value.dtype.kind not in "iu":
            items.notes.append(f"{path.name} has {total} rows, but {key} {list(value.shape)} {value.dtype}: not used")
            continue
        setattr(items, key, torch.from_numpy(value.astype(np.int64))[rows])
    return items


def open_member(path: Path, name: str) -> tuple[tuple[int, ...], Any]:
    """Shape of an array in an ``.npz``, and a function from ascending rows to these rows, without reading all at once."""

    def header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)

    def rows_of(rows: np.ndarray) -> np.ndarray:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, fortran, dtype = header(file)
            if fortran:
                return np.load(path, allow_pickle=False)[name][rows]
            width = int(np.prod(shape[1:])) * dtype.itemsize
            out, at, block = np.empty((len(rows), *shape[1:]), dtype), 0, max(1, 2**22 // max(1, width))
            for start in range(0, shape[0], block):
                stop = min(shape[0], start + block)
                content = file.read((stop - start) * width)
                if len(content) < (stop - start) * width:
                    raise EOFError(f"{name} ends after {start} of {shape[0]} rows")
                until = int(np.searchsorted(rows, stop))
                part = np.frombuffer(content, dtype).reshape(stop - start, *shape[1:])
                out[at:until] = part[rows[at:until] - start]
                at = until
            return out

    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, _, dtype = header(file)
    if dtype.kind != "f":
        raise ValueError(f"its {name} is {dtype}, needed are floating-point numbers.")
    return shape, rows_of


def drawn(total: int, sample: int, seed: int) -> Tensor:
    """A seeded sample of rows, ascending."""
    if total <= sample:
        return torch.arange(total)
    generator = np.random.default_rng(seed)
    return torch.from_numpy(np.sort(generator.choice(total, sample, replace=False, shuffle=False)))


def stretched(images: Tensor) -> Tensor:
    """Each picture's values over [0, 1], where nothing says how they were normalised."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-6)


def _joined(parts: list[Any]) -> Any:
    return torch.cat(parts) if isinstance(parts[0], Tensor) else [one for part in parts for one in part]
