"""What the image DataModules share: batches, splits, and views made on the device after the transfer."""

from functools import cached_property
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.inflation import Inflation
from lightning_contrast.data.loader import ResumableLoader
from lightning_contrast.data.normalize import Normalize
from lightning_contrast.data.samplers import (
    BatchSamplerCallable,
    EpochBatchSampler,
    ShuffledBatchSampler,
    epoch_permutation,
)
from lightning_contrast.data.tensor_images import as_is


class ImageDataModule(LightningDataModule):
    """Base: loaders move whole uint8 batches; views are made by `augmentation` once a batch is on the device.

    - training: ``views`` (a list of `n_views` augmented inputs) or a pair, ``index``, ``label`` if there are labels;
    - validation, test: the same (the views of every epoch alike) and ``input``, the image without
      augmentation;
    - predict, and :meth:`bank_dataloader` (training images for kNN and probes): ``input``, ``index``,
      ``label``.

    A subclass fills ``train_set``, ``val_set``, ``test_set`` in ``setup``.

    Args:
        batch_size: Rows per process.
        n_views: Views of each sample.
        augmentation: Makes the views; None takes the DataModule's own default.
        num_workers: Worker processes; they pay only where files are decoded.
        drop_last: Whether training leaves out a last short batch.
        keep_input: Whether training batches have ``input`` as well.
        seed: Seed of split, order and views.
        sampler: Which batches an epoch has, a batch sampler's class; None shuffles.
        pairs: Whether the two views are ``anchor`` and ``positive``, compared only across, instead of ``views``.
        inflation: Adds generated images to training, and to nothing else; None adds none.

    Raises:
        ValueError: If a number is out of range.
    """

    pixels: ClassVar[tuple[float, float]] = (0.5, 0.5)
    """Mean and standard deviation of the training images' values in [0, 1]."""
    requires: ClassVar[tuple[str, ...]] = ()
    """``label`` where labels decide what is shown together; what batches have for the objective does not count."""
    train_set: Dataset[Any]
    val_set: Dataset[Any]
    test_set: Dataset[Any]

    def __init__(
        self,
        batch_size: int = 256,
        n_views: int = 2,
        augmentation: ImageAugmentation | None = None,
        num_workers: int = 0,
        drop_last: bool = True,
        keep_input: bool = False,
        seed: int = 0,
        sampler: BatchSamplerCallable | None = None,
        pairs: bool = False,
        inflation: Inflation | None = None,
    ) -> None:
        super().__init__()
        if pairs and n_views != 2:
            raise ValueError(f"pairs=True makes pairs of two views, got n_views={n_views}")
        for name, value, low in (
            ("batch_size", batch_size, 1),
            ("n_views", n_views, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < low:
                raise ValueError(f"{name} must be at least {low}, got {value}")
        self.batch_size = batch_size
        self.n_views = n_views
        self.augmentation = self.default_augmentation(seed) if augmentation is None else augmentation
        if self.augmentation.default_normalize:
            mean, std = self.pixels
            self.augmentation.normalize = Normalize((mean,), (std,))
        self.num_workers = num_workers
        self.drop_last = drop_last
        self.keep_input = keep_input
        self.seed = seed
        self.sampler = sampler
        self.pairs = pairs
        self.inflation = inflation

    def default_augmentation(self, seed: int) -> ImageAugmentation:
        """The augmentation when none is given."""
        return ImageAugmentation(seed=seed)

    @property
    def normalize(self) -> Normalize:
        """What happens to an image that is not augmented."""
        return self.augmentation.normalize

    @cached_property
    def training_images(self) -> Dataset[Any]:
        """What batches of training are drawn from: the training split, inflated if so wished."""
        return self.train_set if self.inflation is None else self.inflation(self.train_set)

    def batch_sampler(self) -> EpochBatchSampler:
        """Which batches an epoch of training has; its seed is counted from the DataModule's."""
        if self.sampler is not None:
            sampler = self.sampler(self.training_images, self.batch_size)
            sampler.seed += self.seed
            return sampler
        size = len(self.training_images)  # type: ignore[arg-type]
        drop_last = self.drop_last and size >= self.batch_size
        return ShuffledBatchSampler(size, self.batch_size, drop_last=drop_last, seed=self.seed)

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, resumable, sharded by rank."""
        if self.trainer is not None and getattr(self.trainer, "overfit_batches", False):
            return self._loader(self.train_set)  # the same batches every epoch
        return ResumableLoader(self.training_images, self.batch_sampler(), **self._loader_options())

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, in order."""
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, in order."""
        return self._loader(self.test_set)

    def predict_dataloader(self) -> DataLoader[Any]:
        """All of the test split, ready for the encoder."""
        return self._loader(self.test_set, collate_fn=self._evaluation_batch)

    def bank_dataloader(self) -> DataLoader[Any]:
        """The training split in order, not augmented, ready for the encoder: the bank of kNN and probes."""
        return self._loader(self.train_set, collate_fn=self._evaluation_batch)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Makes the views on the device."""
        trainer = self.trainer
        if "input" not in batch or batch["input"].is_floating_point():
            return batch
        training = trainer is not None and trainer.training
        epoch = trainer.current_epoch if training and trainer is not None else 0
        made = self.make_views(batch, epoch, keep_input=not training or self.keep_input)
        # Lightning has converted the batch to the module's precision before the transfer, not these
        return made if trainer is None else trainer.precision_plugin.convert_input(made)

    def make_views(self, batch: dict[str, Any], epoch: int = 0, keep_input: bool = False) -> dict[str, Any]:
        """``input`` uint8 ``[N, C, H, W]`` becomes ``views`` or a pair; `keep_input` adds a normalised ``input``."""
        images: Tensor = batch["input"]
        views = self.augmentation.views(images, batch["index"], epoch, self.n_views)
        made: dict[str, Any] = {"anchor": views[0], "positive": views[1]} if self.pairs else {"views": views}
        made |= {key: value for key, value in batch.items() if key != "input"}
        made |= self.augmentation.payload(images, batch["index"], epoch, self.n_views)
        if keep_input:
            made["input"] = self._resized(images)
        return made

    def _evaluation_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "input": self._resized(batch["input"])}

    def _resized(self, images: Tensor) -> Tensor:
        size = self.augmentation.size
        out = self.normalize(images)
        if size is not None and tuple(out.shape[-2:]) != tuple(size):
            out = torch.nn.functional.interpolate(out, size, mode="bilinear", antialias=True)
        return out.contiguous(memory_format=torch.channels_last) if self.augmentation.channels_last else out

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "collate_fn": as_is,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
        # a generator of its own: validation must not move the training's random numbers
        generator = torch.Generator().manual_seed(self.seed)
        arguments = {
            "batch_size": self.batch_size,
            "generator": generator,
            **self._loader_options(),
            **options,
        }
        return DataLoader(dataset, **arguments)


def split_indices(size: int, val_size: int | float, seed: int) -> tuple[Tensor, Tensor]:
    """Two disjoint, sorted parts of ``range(size)``: for training and for validation.

    Args:
        size: Number of samples.
        val_size: Number (int >= 1) or share (float in (0, 1)) of the validation samples.
        seed: Seed of the split.

    Raises:
        ValueError: If nothing would be left for one of them.
    """
    count = round(val_size * size) if isinstance(val_size, float) else val_size
    if not 0 < count < size:
        raise ValueError(
            f"val_size must leave samples for training and for validation: a number in [1, {size - 1}] or a "
            f"share in (0, 1), got {val_size} of {size} samples"
        )
    # epoch -1: a permutation that no epoch of training uses
    order = epoch_permutation(size, seed, -1)
    return order[count:].sort().values, order[:count].sort().values
