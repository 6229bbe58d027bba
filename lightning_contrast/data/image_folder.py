"""A folder of images: any sizes, decoded when needed, labelled by its sub-folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.debian import DataNotFoundError
from lightning_contrast.data.image_datamodule import ImageDataModule, split_indices
from lightning_contrast.data.samplers import BatchSamplerCallable

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


class ImageFiles(Dataset[dict[str, Any]]):
    """Image files as uint8 batches of one size, one batch in memory at a time; for ``collate_fn=as_is``.

    An image is scaled until its shorter side has `size` pixels (antialiased), then cut to its centre square.

    Args:
        files: The image files.
        size: Side in pixels.
        channels: 3 (RGB) or 1 (grey).
        labels: int64 ``[N]``, or None.
        index: Positions in the whole folder, int64 ``[N]``; None counts from 0.
    """

    def __init__(
        self,
        files: Sequence[Path],
        size: int,
        channels: int = 3,
        labels: Tensor | None = None,
        index: Tensor | None = None,
    ) -> None:
        self.files = list(files)
        self.size, self.channels = size, channels
        self.labels = labels
        self.index = torch.arange(len(self.files)) if index is None else index

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {key: value[0] for key, value in self.__getitems__([position]).items()}

    def __getitems__(self, positions: list[int]) -> dict[str, Tensor]:
        images = [read_image(self.files[position], self.size, self.channels) for position in positions]
        chosen = torch.tensor(list(positions), dtype=torch.int64)
        batch = {"input": torch.stack(images), "index": self.index[chosen]}
        if self.labels is not None:
            batch["label"] = self.labels[chosen]
        return batch


class ImageFolderDataModule(ImageDataModule):
    """Any folder of images: ``lightning-contrast fit ... --data ImageFolderDataModule --data.root DIR``.

    Sub-folders, when every image is in one, are the classes. When the folder has a sub-folder ``train``, it
    is the training split and ``val`` and ``test`` beside it the others, as far as they exist; else a seeded
    part is held out for validation, which is then the test split as well.

    Args:
        root: The folder.
        image_size: Side of the views in pixels.
        load_size: Side to which files are scaled when decoded, from which views are cropped; None is
            `image_size`.
        channels: 3 (RGB) or 1 (grey).
        batch_size: Rows per process.
        val_size: Number or share of the validation samples.
        n_views: Views of each sample.
        augmentation: Makes the views; None is SimCLR's.
        num_workers: Worker processes that decode; 0 decodes in the training process.
        drop_last: Whether training leaves out a last short batch.
        keep_input: Whether training batches have the plain ``input`` as well.
        seed: Seed of split, order and views.
        sampler: Which batches an epoch has, a batch sampler's class; None shuffles.
        pairs: Whether the two views are ``anchor`` and ``positive``, compared only across.

    Raises:
        DataNotFoundError: If the folder does not exist or has no images.
        ImportError: If Pillow is missing.
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        load_size: int | None = None,
        channels: int = 3,
        batch_size: int = 128,
        val_size: int | float = 0.1,
        n_views: int = 2,
        augmentation: ImageAugmentation | None = None,
        num_workers: int = 0,
        drop_last: bool = True,
        keep_input: bool = False,
        seed: int = 0,
        sampler: BatchSamplerCallable | None = None,
        pairs: bool = False,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
        if image_size < 1 or (load_size is not None and load_size < 1):
            raise ValueError(f"image_size and load_size must be at least 1, got {image_size} and {load_size}")
        self.image_size = image_size
        super().__init__(batch_size, n_views, augmentation, num_workers, drop_last, keep_input, seed, sampler, pairs)
        self.root, self.load_size, self.channels = root, load_size or image_size, channels
        self.val_size = val_size
        self.classes: list[str] = []
        self.save_hyperparameters(ignore=["augmentation", "sampler"], logger=False)

    def default_augmentation(self, seed: int) -> ImageAugmentation:
        """SimCLR's, at the asked size."""
        return ImageAugmentation(size=self.image_size, blur_taps=5, blur_sigma=(0.1, 2.0), seed=seed)

    @property
    def class_names(self) -> Sequence[str] | None:
        """Of the labels: the sub-folders' names; None without sub-folders, and before ``setup``."""
        return self.classes or None

    def setup(self, stage: str | None = None) -> None:
        """Lists the files; none is opened."""
        if hasattr(self, "train_set"):
            return
        root = Path(self.root)
        base = root / "train" if (root / "train").is_dir() else root
        files, labels, self.classes = list_images(base)
        if base is root:
            kept, held = split_indices(len(files), self.val_size, self.seed)
            self.train_set, self.val_set = (self._part(files, labels, part) for part in (kept, held))
            self.test_set = self.val_set
            return
        everything = torch.arange(len(files))
        kept = everything
        if (root / "val").is_dir():
            self.val_set = self._part(*self._listed(root / "val"))
        else:
            kept, held = split_indices(len(files), self.val_size, self.seed)
            self.val_set = self._part(files, labels, held)
        self.train_set = self._part(files, labels, kept)
        self.test_set = self._part(*self._listed(root / "test")) if (root / "test").is_dir() else self.val_set

    def _listed(self, folder: Path) -> tuple[list[Path], Tensor | None, Tensor]:
        """Files of another split, with the classes of the training split."""
        files, labels, _ = list_images(folder, self.classes)
        return files, labels, torch.arange(len(files))

    def describe(self, index: Sequence[int], split: str = "test") -> list[str]:
        """The files of these images, for a person to read; ``split``: ``train``, ``val`` or ``test``."""
        images: Any = {"train": self.train_set, "val": self.val_set}.get(split, self.test_set)
        file = dict(zip(images.index.tolist(), images.files, strict=True))
        return [str(file[int(i)].relative_to(self.root)) for i in index]

    def _part(self, files: list[Path], labels: Tensor | None, part: Tensor) -> ImageFiles:
        chosen = None if labels is None else labels[part]
        return ImageFiles([files[i] for i in part.tolist()], self.load_size, self.channels, chosen, part)


def list_images(
    root: str | os.PathLike[str], classes: list[str] | None = None
) -> tuple[list[Path], Tensor | None, list[str]]:
    """All image files below a folder in sorted order, their labels int64 ``[N]``, and the class names.

    The labels are None, and the names empty, unless every image is in a sub-folder.

    Args:
        root: The folder.
        classes: Class names to use; None takes the sub-folders' names.

    Raises:
        DataNotFoundError: If there are no images, or a class that is not in `classes`.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataNotFoundError(f"the image folder {folder} does not exist; give an existing one as root")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise DataNotFoundError(
            f"the folder {folder} has no images (looked for, in sub-folders too: {', '.join(EXTENSIONS)})"
        )
    parents = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in files]
    if None in parents:
        return files, None, []
    names = classes or sorted({str(parent) for parent in parents})
    if unknown := sorted({str(parent) for parent in parents} - set(names)):
        raise DataNotFoundError(f"{folder} has classes that the training images lack: {', '.join(unknown)}")
    return files, torch.tensor([names.index(str(parent)) for parent in parents]), names


def read_image(path: Path, size: int, channels: int = 3) -> Tensor:
    """Decode one file: uint8 ``[channels, size, size]``, shorter side scaled to `size`, centre cut out.

    Raises:
        ImportError: If Pillow is missing.
        ValueError: If the file cannot be decoded; it is named.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading image files needs Pillow: pip install 'lightning-contrast[images]'") from error
    mode = "RGB" if channels == 3 else "L"
    try:
        with Image.open(path) as image:
            image.draft(mode, (size, size))  # JPEG decodes at a fraction of its size
            scale = size / min(image.size)
            width, height = (max(size, round(side * scale)) for side in image.size)
            small = image.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"the image {path} cannot be decoded ({error}); remove or replace the file") from error
    left, top = (width - size) // 2, (height - size) // 2
    pixels = torch.from_numpy(np.asarray(small.crop((left, top, left + size, top + size))).copy())
    return pixels.view(size, size, channels).permute(2, 0, 1).contiguous()
