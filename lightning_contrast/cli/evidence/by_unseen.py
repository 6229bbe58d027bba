"""Scores of runs on classes that training did not see: search among their pictures, and a few labels of each."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.cli.evaluate import validation_batches
from lightning_contrast.cli.evidence.by_label import features
from lightning_contrast.cli.protocol import embed_split
from lightning_contrast.functional.few_label import draw_per_class
from lightning_contrast.functional.retrieval import retrieval_figures

CURVE = "map@r"
DRAWS = 100
"""Of labelled pictures, whose accuracies are averaged."""


def scores(embed: Callable[[Tensor], Tensor] | None, data: Any, seed: int) -> dict[str, Any]:
    """``val`` and ``test``: every picture of an unseen class searches the others; labels come from the other split.

    Raises:
        ValueError: for a baseline that has no features, and where training sees all classes.
    """
    embed = features(embed)
    val = unseen(embed_split(embed, validation_batches(data)), data.train_set.labels)
    test = unseen(embed_split(embed, data.predict_dataloader()), data.train_set.labels)
    return {
        "val": {**search(*val), **few_shots(*test, *val, seed)},
        "test": {**search(*test), **few_shots(*val, *test, seed)},
    }


def look(embed: Callable[[Tensor], Tensor] | None, data: Any) -> float:
    """MAP@R of the unseen classes' part of the validation split."""
    val = embed_split(features(embed), validation_batches(data))
    return search(*unseen(val, data.train_set.labels))[CURVE]


def unseen(split: tuple[Tensor, Tensor], seen: Tensor) -> tuple[Tensor, Tensor]:
    """The rows whose label training has not.

    Raises:
        ValueError: if there are less than two such classes.
    """
    z, label = split
    kept = ~torch.isin(label, seen)
    if len(label[kept].unique()) < 2:
        raise ValueError("less than two classes are unseen: train on some of them, --data.classes [0, 1, 2].")
    return z[kept], label[kept]


def search(z: Tensor, label: Tensor) -> dict[str, float]:
    """R@1 and MAP@R by cosine (Musgrave et al. 2020). ``z: [N, F]``, ``label: [N]``."""
    ids = torch.arange(len(z))
    found = retrieval_figures(z, z, label, label, ("precision@1", "map@r"), query_ids=ids, corpus_ids=ids)
    return {name: float(value) for name, value in found.items()}


def few_shots(bank: Tensor, bank_label: Tensor, z: Tensor, label: Tensor, seed: int) -> dict[str, float]:
    """Accuracy by the nearest class mean (cosine) of one and of five labelled rows a class, mean over draws."""
    classes, bank, z = bank_label.unique(), F.normalize(bank, dim=1), F.normalize(z, dim=1)
    out = {}
    for name, shots in (("one_label", 1), ("five_labels", 5)):
        right = 0.0
        for draw in range(seed, seed + DRAWS):
            rows = draw_per_class(bank_label, shots, draw)  # by rising class
            means = F.normalize(bank[rows].reshape(len(classes), shots, -1).mean(1), dim=1)
            right += float((classes[(z @ means.T).argmax(1)] == label).double().mean())
        out[name] = right / DRAWS
    return out
