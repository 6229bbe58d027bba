"""Neural architectures as data: untrained networks of one architecture are views of it."""

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_contrast.data.digits import read_digits
from lightning_contrast.data.image_datamodule import split_indices
from lightning_contrast.data.loader import ResumableLoader
from lightning_contrast.data.samplers import BatchKeys, ShuffledBatchSampler
from lightning_contrast.data.tensor_images import as_is
from lightning_contrast.functional.architectures import data_jacobian, draw_architectures, projected_jacobian
from lightning_contrast.functional.counter_random import counter_uniform


class ArchitectureSet(Dataset[dict[str, Any]]):
    """Two initialisations of each architecture, drawn anew in every epoch.

    Args:
        features: ``[A, S, F]``, of S initialisations, at least 2.
        index: int64 ``[A]``, number of each architecture.
        seed: of the draws.
    """

    def __init__(self, features: Tensor, index: Tensor, seed: int = 0) -> None:
        self.features, self.index, self.seed = features, index, seed

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, position: int) -> dict[str, Any]:
        batch = self.__getitems__([position])
        return {key: [v[0] for v in value] if key == "views" else value[0] for key, value in batch.items()}

    def __getitems__(self, positions: list[int]) -> dict[str, Any]:
        rows = torch.tensor(list(positions), dtype=torch.int64)
        epoch = positions.epoch if isinstance(positions, BatchKeys) else 0
        u = counter_uniform(self.index[rows], 2, seed=self.seed, epoch=epoch)
        seeds = self.features.shape[1]
        first = (u[:, 0] * seeds).long().clamp(max=seeds - 1)
        second = (first + 1 + (u[:, 1] * (seeds - 1)).long().clamp(max=seeds - 2)) % seeds  # another one
        views = [self.features[rows, chosen] for chosen in (first, second)]
        return {"views": views, "index": self.index[rows], "label": self.index[rows]}


class ArchitectureDataModule(LightningDataModule):
    """Random perceptrons; a view is the data Jacobian of one untrained network on fixed digits (2021).

    Validation architectures are not seen in training; there the label is the architecture, which another initialisation
    should retrieve.

    Args:
        architectures: how many, from 4 to 1000.
        seeds: initialisations of each, >= 2.
        samples: digits at which the Jacobian is taken, >= 2.
        batch_size: Rows per process.
        val_size: Number or share of the validation architectures.
        drop_last: Whether training leaves out a last short batch.
        seed: Seed of architectures, weights, split, order and views.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        architectures: int = 512,
        seeds: int = 4,
        samples: int = 32,
        batch_size: int = 128,
        val_size: int | float = 0.25,
        drop_last: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, low in (
            ("architectures", architectures, 4), ("seeds", seeds, 2), ("samples", samples, 2),
            ("batch_size", batch_size, 1),
        ):  # fmt: skip
            if value < low:
                raise ValueError(f"{name} must be at least {low}, got {value}")
        self.architectures, self.seeds, self.samples = architectures, seeds, samples
        self.batch_size, self.val_size, self.drop_last, self.seed = batch_size, val_size, drop_last, seed
        self.source = "random perceptrons on scikit-learn's digits"
        self.save_hyperparameters(logger=False)

    def setup(self, stage: str | None = None) -> None:
        """Draws, initialises, takes Jacobians, once; features are standardised by the training split's."""
        if hasattr(self, "train_set"):
            return
        x = read_digits()[0][: self.samples].flatten(1).float() / 255
        features = torch.stack(
            [
                torch.stack([projected_jacobian(data_jacobian(one, x, a * self.seeds + s)) for s in range(self.seeds)])
                for a, one in enumerate(draw_architectures(self.architectures, self.seed))
            ]
        )
        parts = split_indices(self.architectures, self.val_size, self.seed)
        known = features[parts[0]].flatten(0, 1)
        features = (features - known.mean(0)) / known.std(0).clamp_min(1e-6)
        self.train_set, self.val_set = (ArchitectureSet(features[part], part, self.seed) for part in parts)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, resumable, sharded by rank."""
        size = len(self.train_set)
        drop_last = self.drop_last and size >= self.batch_size
        sampler = ShuffledBatchSampler(size, self.batch_size, drop_last=drop_last, seed=self.seed)
        return ResumableLoader(self.train_set, sampler, collate_fn=as_is)

    def val_dataloader(self) -> DataLoader[Any]:
        """Architectures not trained on, in order."""
        return DataLoader(
            self.val_set, self.batch_size, collate_fn=as_is, generator=torch.Generator().manual_seed(self.seed)
        )
