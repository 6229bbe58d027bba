"""Scores of runs on labelled data: the protocol of ``evaluate``, and the geometry of the features."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from lightning_contrast.cli.evaluate import validation_batches
from lightning_contrast.cli.protocol import bank_loader, embed_split
from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.functional.evaluation import accuracy_by_class_size, evaluate_embeddings
from lightning_contrast.functional.geometry import alignment, uniformity
from lightning_contrast.functional.knn import knn_predict
from lightning_contrast.functional.ridge import ridge_probe
from lightning_contrast.functional.spectrum import effective_rank

CURVE = "knn"
LOOK = 2000
"""Training and validation samples behind a point of a curve."""


def scores(embed: Callable[[Tensor], Tensor] | None, data: Any, seed: int) -> dict[str, Any]:
    """``val`` and ``test`` accuracies, and the geometry of the features of the test split.

    Raises:
        ValueError: for a baseline that has no features.
    """
    embed = features(embed)
    bank = embed_split(embed, bank_loader(data))
    val = embed_split(embed, validation_batches(data))
    test = embed_split(embed, data.predict_dataloader())
    with torch.inference_mode():
        views = [list(batch_inputs(data.make_views(batch)).values())[:2] for batch in data.test_dataloader()]
        one, two = (torch.cat([embed(pair[i]).float().flatten(1) for pair in views]) for i in (0, 1))
    return {
        "val": evaluate_embeddings(*bank, *val, seed=seed),
        "test": {**evaluate_embeddings(*bank, *test, seed=seed), **by_class_size(bank, test)},
        "alignment": float(alignment(one, two)),
        "uniformity": float(uniformity(test[0])),
        "rank": float(effective_rank(test[0])),
    }


def by_class_size(bank: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Accuracies on classes with many, with fewer and with few training samples; nothing where classes are about equal."""
    counts = bank[1].bincount()
    if int(counts.max()) < 2 * int(counts[counts > 0].min()):
        return {}
    predicted = {"knn": knn_predict(held_out[0], *bank, k=20), "linear": ridge_probe(*bank, held_out[0])}
    return {
        f"{key}_{size}": value
        for key, labels in predicted.items()
        for size, value in accuracy_by_class_size(bank[1], labels, held_out[1]).items()
    }


def look(embed: Callable[[Tensor], Tensor] | None, data: Any) -> float:
    """kNN accuracy on a part of the validation split, from a part of the training split.

    Raises:
        ValueError: for a baseline that has no features.
    """
    embed = features(embed)
    bank = embed_split(embed, _some(bank_loader(data)))
    val = embed_split(embed, [{**b, "input": data.normalize(b["input"])} for b in _some(data.val_dataloader())])
    return float((knn_predict(val[0], *bank, k=20) == val[1]).double().mean())


def features(embed: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    """What makes features.

    Raises:
        ValueError: for a baseline that has none.
    """
    if embed is None:
        raise ValueError("BM25 is a baseline of searches, not of labelled data: use raw pixels, or untrained encoder.")
    return embed


def _some(loader: DataLoader[Any]) -> DataLoader[Any]:
    """A fixed choice of its samples."""
    dataset: Any = loader.dataset
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:LOOK]
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        Subset(dataset, chosen.tolist()), loader.batch_size, collate_fn=loader.collate_fn, generator=generator
    )
