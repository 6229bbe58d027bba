"""Scores of runs that train a classifier on biased data: its accuracy where the bias says nothing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.cli.evaluate import validation_batches
from lightning_contrast.cli.evidence.by_label import features
from lightning_contrast.cli.protocol import embed_split

CURVE = "classifier"


def embedder(module: Any) -> Callable[[Tensor], Tensor]:
    """Logits ``[N, classes]`` of the classifier that was trained with the encoder: the objective ``Classification``.

    Raises:
        ValueError: for a module without head-less ``Classification``.
    """
    if not hasattr(module.objective, "classes") or module.head is not None:
        raise ValueError("scored_by: classifier needs head: null and the objective Classification.")
    module.eval()
    return lambda x: module.objective.linear(module.embed(x).float())


def scores(embed: Callable[[Tensor], Tensor] | None, data: Any, seed: int) -> dict[str, Any]:
    """``val`` and ``test``: accuracy, and that on pictures whose ``bias`` agrees with the class and contradicts it."""
    splits = {"val": validation_batches(data), "test": data.predict_dataloader()}
    return {name: figures(features(embed), split) for name, split in splits.items()}


def look(embed: Callable[[Tensor], Tensor] | None, data: Any) -> float:
    """Accuracy on the validation split."""
    return figures(features(embed), validation_batches(data))[CURVE]


def figures(embed: Callable[[Tensor], Tensor], loader: Any) -> dict[str, float]:
    """Of all batches; ``bias`` is the class that a picture's bias speaks for."""
    logit, label = embed_split(embed, loader)
    bias = torch.cat([batch["bias"] for batch in loader]).cpu()
    right = (logit.argmax(1) == label).double()
    return {
        CURVE: float(right.mean()),
        "agreeing": float(right[bias == label].mean()),
        "contradicting": float(right[bias != label].mean()),
    }
