"""Cached encoders of a module, told when a fit begins, and whether its inputs are the same every epoch."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.encoders import Cached
from lightning_contrast.functional.content_keys import content_keys
from lightning_contrast.modules.setup import first_batch

if TYPE_CHECKING:
    from lightning_contrast.modules.contrastive import ContrastiveModule


def caches(module: nn.Module) -> list[Cached]:
    """All of them."""
    return [part for part in module.modules() if isinstance(part, Cached)]


def begin_caches(module: "ContrastiveModule") -> None:
    """Before training.

    Raises:
        ValueError: for inputs that differ from one reading to the next, or views that do not differ at all.
    """
    found = caches(module)
    if found:
        require_steady_inputs(module)
    for cache in found:
        cache.begin()


def require_steady_inputs(module: "ContrastiveModule") -> None:
    """Reads a few samples as of two epochs, with other random numbers.

    Raises:
        ValueError: for views that are drawn at random, and for views that only dropout could tell apart.
    """
    loader: Any = module.trainer.fit_loop._data_source.dataloader()
    dataset = getattr(loader[0] if isinstance(loader, (list, tuple)) else loader, "dataset", None)
    if not hasattr(dataset, "__getitem__"):
        return  # what has no places cannot be read twice
    progress = module.trainer.fit_loop.epoch_progress.current
    read: list[dict[str, Any]] = []
    for later in (0, 1):
        progress.completed += later  # augmentations on the device go by Trainer.current_epoch
        try:
            with isolated_random_state(later):
                batch = first_batch(module, "fit")
        finally:
            progress.completed -= later
        inputs = batch_inputs(batch) | {name: batch[name] for name in ("negative",) if name in batch}
        read.append({name: content_keys(value) for name, value in inputs.items()})
    for name, keys in read[0].items():
        if not torch.equal(keys, read[1][name]):
            raise ValueError(
                f"Cached keeps what the encoder makes of each input, but {name!r} of a training sample is another one every "
                "time it is read: its views are drawn at random. Train on inputs that stay (pairs, or views that draw nothing), "
                "or without Cached."
            )
    views = [keys for name, keys in read[0].items() if name.startswith("view")]
    if len(views) > 1 and all(torch.equal(view, views[0]) for view in views):
        raise ValueError(
            "All views of a training sample are the same input, which only dropout could tell apart, and a Cached encoder has "
            "none: train without Cached, or on pairs."
        )
