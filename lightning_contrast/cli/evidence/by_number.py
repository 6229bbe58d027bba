"""Scores of runs on data with a number for each picture: what a linear regression reads from the features."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.cli.evaluate import validation_batches
from lightning_contrast.cli.evidence.by_label import features
from lightning_contrast.cli.protocol import bank_loader, embed_split
from lightning_contrast.functional.evaluation import mean_by_class_size

CURVE = "rank_correlation"
KEY = "score"


def scores(embed: Callable[[Tensor], Tensor] | None, data: Any, seed: int) -> dict[str, Any]:
    """``val`` and ``test``: rank correlation and absolute error of a ridge regression on the training split.

    Raises:
        ValueError: for a baseline that has no features.
    """
    embed = features(embed)
    bank = embed_split(embed, bank_loader(data), KEY)
    splits = {"val": validation_batches(data), "test": data.predict_dataloader()}
    return {name: figures(bank, embed_split(embed, split, KEY)) for name, split in splits.items()}


def look(embed: Callable[[Tensor], Tensor] | None, data: Any) -> float:
    """Rank correlation on the validation split."""
    embed = features(embed)
    return figures(*(embed_split(embed, part, KEY) for part in (bank_loader(data), validation_batches(data))))[CURVE]


def figures(bank: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Rank correlation and error; with three numbers or more also the error on frequent and on rare ones."""
    from scipy.stats import spearmanr

    predicted, truth = regression(*bank, held_out[0]), held_out[1].double()
    error = (predicted - truth).abs()
    out = {CURVE: float(spearmanr(predicted, truth).statistic), "error": float(error.mean())}
    values, place = torch.cat([bank[1], held_out[1]]).unique(return_inverse=True)
    if len(values) >= 3:
        sizes = mean_by_class_size(place[: len(bank[1])], error, place[len(bank[1]) :])
        out |= {f"error_{size}": value for size, value in sizes.items()}
    return out


def regression(z: Tensor, number: Tensor, query: Tensor) -> Tensor:
    """Numbers ``[Q]`` of ``query`` ``[Q, F]`` from ``z`` ``[N, F]`` and ``number`` ``[N]``: Bayesian ridge regression."""
    from sklearn.linear_model import BayesianRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, numbers, wanted = (x.double().cpu().numpy() for x in (z, number, query))
    return torch.from_numpy(make_pipeline(StandardScaler(), BayesianRidge()).fit(rows, numbers).predict(wanted))
