"""One protocol for every encoder: features before the head, training split as bank, beside raw pixels and chance."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import instantiate_module
from torch import Tensor, nn

from lightning_contrast.cli.errors import UserError
from lightning_contrast.functional.evaluation import evaluate_embeddings

COLUMNS = {"knn": "kNN", "linear": "linear probe", "few_label": "10 labels a class"}


def embed_split(embed: Callable[[Tensor], Tensor], loader: Any, key: str = "label") -> tuple[Tensor, Tensor]:
    """Features ``[N, F]`` and labels ``[N]`` (or what else a batch has by ``key``) of all batches of a loader.

    Raises:
        UserError: if there are none.
    """
    features, labels = [], []
    with torch.inference_mode():
        for batch in loader:
            if key not in batch:
                raise UserError(f"evaluate needs {key}s, and these data have none: kNN and probes score by {key}.")
            features.append(embed(batch["input"]).float().flatten(1).cpu())
            labels.append(batch[key].cpu())
    return torch.cat(features), torch.cat(labels)


def embedder(module: LightningModule) -> Callable[[Tensor], Tensor]:
    """The module's features in evaluation mode, on its device; inputs may be mappings of tensors, as token numbers are."""
    module.eval()
    device = module.device
    return lambda x: module.embed(move_data_to_device(x, device))  # type: ignore[operator]


def untrained(module: LightningModule) -> LightningModule:
    """The same encoder with the weights that it has when it is made.

    What the command line made is made once more; of a module made in Python every layer draws its weights again.
    """
    made = dict(module.hparams)
    if made.pop("_instantiator", None) and "encoder" in made:
        return instantiate_module(type(module), made)
    fresh = copy.deepcopy(module)
    for part in fresh.modules():
        reset = getattr(part, "reset_parameters", None)
        if reset is not None:
            reset()
    return fresh


def bank_loader(data: LightningDataModule) -> Any:
    """Training samples without augmentation.

    Raises:
        UserError: if the DataModule has none to give.
    """
    if not hasattr(data, "bank_dataloader"):
        raise UserError(
            f"{type(data).__name__} has no bank_dataloader(): a loader of training samples without augmentation, with "
            "'input' and 'label', that kNN and probes learn from."
        )
    return data.bank_dataloader()


def compare(
    module: LightningModule, data: LightningDataModule, seed: int = 0, held_out: Any = None
) -> tuple[dict[str, dict[str, float]], Tensor, Tensor]:
    """Score the encoder, an untrained one, raw pixels and chance.

    Args:
        module: trained.
        data: set up.
        seed: of the untrained weights and of the draws of labels.
        held_out: loader of what is scored; ``None`` is the test split.

    Returns:
        Accuracies by row and column; the encoder's held-out features and their labels.
    """
    held_out = data.predict_dataloader() if held_out is None else held_out
    bank = bank_loader(data)
    rows: dict[str, dict[str, float]] = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random = untrained(module)
    pixels, normalize = nn.Flatten(), getattr(data, "normalize", None)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "this encoder": embedder(module),
        "untrained encoder": embedder(random),
        "raw pixels": lambda x: pixels(x) if normalize is None else pixels(normalize.undo(x)),
    }
    held: dict[str, tuple[Tensor, Tensor]] = {}
    for name, embed in kinds.items():
        train, held[name] = embed_split(embed, bank), embed_split(embed, held_out)
        rows[name] = evaluate_embeddings(*train, *held[name], seed=seed)
    z, labels = held["this encoder"]
    chance = float(labels.bincount().max() / len(labels))
    rows["chance"] = dict.fromkeys(COLUMNS, chance)
    return rows, z, labels
