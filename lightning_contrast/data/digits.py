"""The 1,797 handwritten digits inside scikit-learn (8 x 8 pixels): real images that are always at hand."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.image_datamodule import ImageDataModule, split_indices
from lightning_contrast.data.inflation import Inflation
from lightning_contrast.data.long_tail import check_shares, long_tailed, rows_of_classes, undersampled
from lightning_contrast.data.samplers import BatchSamplerCallable
from lightning_contrast.data.tensor_images import TensorImages


def read_digits(size: int = 8) -> tuple[Tensor, Tensor]:
    """All digits: images uint8 ``[1797, 1, size, size]`` and labels int64 ``[1797]``.

    Args:
        size: Side in pixels, >= 8; enlarged from 8.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 16
    if size != 8:
        images = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
    return (images * 255).round().to(torch.uint8), torch.from_numpy(digits.target).long()


class DigitsDataModule(ImageDataModule):
    """scikit-learn's digits: ten classes, 1,797 images; a seeded fifth is the test split.

    Args:
        image_size: Side in pixels, >= 8; enlarged from 8.
        batch_size: Rows per process.
        val_size: Number or share of the validation samples.
        imbalance: Ratio of the largest training class to the smallest, >= 1: sizes fall exponentially from 0
            to 9 (seeded choice); validation and test stay balanced. None leaves all samples.
        classes: Train on images of these classes only (one-class learning); validation and test keep all.
        score: Whether batches have ``score`` as well, the digit as a real number: a regression.
        n_views: Views of each sample.
        augmentation: Makes the views; None is a gentle one without mirroring.
        num_workers: Worker processes.
        drop_last: Whether training leaves out a last short batch.
        keep_input: Whether training batches have the plain ``input`` as well.
        seed: Seed of the splits, the order and the views.
        sampler: Which batches an epoch has, a batch sampler's class; None shuffles.
        pairs: Whether the two views are ``anchor`` and ``positive``, compared only across.
        inflation: Adds generated images to training.
        rare: Share of its training images that a class keeps, by class, in (0, 1]: ``{6: 0.01}`` (seeded choice).

    Raises:
        ValueError: If a number is out of range.
    """

    pixels = (0.305, 0.376)

    def __init__(
        self,
        image_size: int = 8,
        batch_size: int = 256,
        val_size: int | float = 0.1,
        imbalance: float | None = None,
        classes: Sequence[int] | None = None,
        score: bool = False,
        n_views: int = 2,
        augmentation: ImageAugmentation | None = None,
        num_workers: int = 0,
        drop_last: bool = True,
        keep_input: bool = False,
        seed: int = 0,
        sampler: BatchSamplerCallable | None = None,
        pairs: bool = False,
        inflation: Inflation | None = None,
        rare: dict[int, float] | None = None,
    ) -> None:
        super().__init__(
            batch_size, n_views, augmentation, num_workers, drop_last, keep_input, seed, sampler, pairs, inflation
        )
        if image_size < 8:
            raise ValueError(f"image_size must be at least 8 pixels, got {image_size}")
        if imbalance is not None and not 1 <= imbalance < float("inf"):
            raise ValueError(
                f"imbalance is the ratio of the largest class to the smallest, a number >= 1, got {imbalance}"
            )
        self.image_size, self.imbalance, self.score = image_size, imbalance, score
        self.classes = classes
        self.rare = check_shares(rare)
        self.val_size = val_size
        self.save_hyperparameters(ignore=["augmentation", "sampler", "inflation"], logger=False)

    def default_augmentation(self, seed: int) -> ImageAugmentation:
        """Crops and contrast; a mirrored digit is another sign."""
        return ImageAugmentation(scale=(0.5, 1.0), flip=0.0, blur=0.3, blur_sigma=(0.1, 0.5), seed=seed)

    def setup(self, stage: str | None = None) -> None:
        """Reads and splits."""
        images, labels = read_digits(self.image_size)
        rest, test = split_indices(len(images), 0.2, self.seed)
        kept, held = split_indices(len(rest), self.val_size, self.seed)
        train = rest[kept]
        if self.classes is not None:
            train = rows_of_classes(labels, train, self.classes)
        if self.imbalance is not None:
            train = train[long_tailed(labels[train], self.imbalance, self.seed)]
        if self.rare is not None:
            train = train[undersampled(labels[train], self.rare, self.seed)]
        known = {"score": labels.float()} if self.score else {}
        self.train_set, self.val_set, self.test_set = (
            TensorImages(images[part], labels[part], part, **{key: value[part] for key, value in known.items()})
            for part in (train, rest[held], test)
        )
