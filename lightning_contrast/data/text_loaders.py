"""The loaders of a text data module: which rows make a batch, in training and where texts are evaluated."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from lightning_contrast.data.contrastive_dataset import ContrastiveDataset
from lightning_contrast.data.length_batches import LengthBatchSampler
from lightning_contrast.data.loader import ResumableLoader
from lightning_contrast.data.samplers import (
    BatchSamplerCallable,
    EpochBatchSampler,
    ShuffledBatchSampler,
    rank_and_world,
)
from lightning_contrast.data.text_collate import TextCollate
from lightning_contrast.data.text_sets import ViewedPairs


class TextLoaders(LightningDataModule):
    """What :class:`~lightning_contrast.data.TextDataModule` loads by; it sets what is declared here."""

    train_set: Dataset[Any]
    batch_size: int
    num_workers: int
    drop_last: bool
    seed: int
    group_by_length: bool
    n_views: int
    sampler: BatchSamplerCallable | None
    _sets: dict[str, Dataset[Any]]
    _bank: Dataset[Any]
    _single: bool
    _lengths: Sequence[int]
    _pair_views: list[Any] | None

    @property
    def collate(self) -> TextCollate:
        """Texts to token numbers."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, resumable, sharded by rank."""
        if self.trainer is not None and getattr(self.trainer, "overfit_batches", False):
            return self._loader(self.train_set)  # the same batches every epoch
        batches = self.train_batches()
        return ResumableLoader(self.train_set, batches, num_workers=self.num_workers, collate_fn=self.collate)

    def train_batches(self) -> EpochBatchSampler:
        """Which rows make a batch of the training."""
        size = len(self.train_set)  # type: ignore[arg-type]
        if self.sampler is not None:
            batches = self.sampler(self.train_set, self.batch_size)
            batches.seed += self.seed
            return batches
        options: dict[str, Any] = {"drop_last": self.drop_last and size >= self.batch_size, "seed": self.seed}
        if self.group_by_length:
            return LengthBatchSampler(self._lengths, self.batch_size, **options)
        return ShuffledBatchSampler(size, self.batch_size, **options)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, in order; shared by processes as one batch of all is, no row twice."""
        return self._shared(self._held("val", views=True))

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, as the validation split."""
        return self._shared(self._held("test", views=True))

    def predict_dataloader(self) -> DataLoader[Any]:
        """The test split, as it is."""
        return self._loader(self._held("test"))

    def bank_dataloader(self) -> DataLoader[Any]:
        """The training split as it is, in order: what negatives are mined from."""
        return self._loader(self._bank)

    def _held(self, name: str, views: bool = False) -> Dataset[Any]:
        if name not in self._sets:
            raise ValueError(f"{name}=None: there is no {name} split; give {name}=..., or neither val nor test.")
        found = self._sets[name]
        if not views:
            return found
        if not self._single:
            return self._with_views(name, fixed=True)
        return ContrastiveDataset(found, views=None, n_views=min(self.n_views, 2), seed=self.seed)

    def _shared(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        if rank_and_world()[1] == 1:
            return self._loader(dataset)
        # Lightning's own sharing repeats rows to fill up, which would be negatives of themselves
        batches = ShuffledBatchSampler(len(dataset), self.batch_size, shuffle=False)  # type: ignore[arg-type]
        return ResumableLoader(dataset, batches, num_workers=self.num_workers, collate_fn=self.collate)

    def _loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        # a generator of its own: validation must not move the training's random numbers
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            dataset, self.batch_size, num_workers=self.num_workers, collate_fn=self.collate, generator=generator
        )

    def _with_views(self, name: str, fixed: bool = False) -> Dataset[Any]:
        pairs: Any = self._sets[name]
        return pairs if self._pair_views is None else ViewedPairs(pairs, self._pair_views, self.seed, fixed)
