"""Fashion-MNIST as a DataModule."""

import warnings
from collections.abc import Sequence

import torch

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.debian import DataNotFoundError
from lightning_contrast.data.digits import read_digits
from lightning_contrast.data.fashion_mnist import CLASSES, URL, find_fashion_mnist, read_fashion_mnist
from lightning_contrast.data.image_datamodule import ImageDataModule, split_indices
from lightning_contrast.data.inflation import Inflation
from lightning_contrast.data.long_tail import check_shares, long_tailed, rows_of_classes, undersampled
from lightning_contrast.data.samplers import BatchSamplerCallable
from lightning_contrast.data.tensor_images import TensorImages


class FashionMNISTDataModule(ImageDataModule):
    """Fashion-MNIST: 60,000 images, of which a seeded part is for validation, and the official test split.

    Found in a folder given, in Debian's package (fetched without root), or at its usual address, in this
    order.

    Args:
        root: Folder with the four idx files; None fetches them.
        batch_size: Rows per process.
        val_size: Number or share of the validation samples.
        subset: How many training images to use (seeded choice, validation apart); None is all.
        imbalance: Ratio of the largest training class to the smallest, >= 1: sizes fall exponentially from
            class 0 to class 9 (seeded choice); validation and test stay balanced. None leaves all samples.
        classes: Train on images of these classes only (one-class learning); validation and test keep all.
        n_views: Views of each sample.
        augmentation: Makes the views; None is SimCLR's for grey images.
        num_workers: Worker processes; not worth it, the images are in memory.
        drop_last: Whether training leaves out a last short batch.
        keep_input: Whether training batches have the plain ``input`` as well.
        fallback: Whether scikit-learn's digits, enlarged to 28 pixels, stand in when no source can be
            reached; a warning says so and names what was tried.
        url: Address of the four files.
        cache_dir: Where fetched files are kept; None is ``$LIGHTNING_CONTRAST_DATA`` or
            ``~/.cache/lightning_contrast``.
        seed: Seed of split, order and views.
        sampler: Which batches an epoch has, a batch sampler's class; None shuffles.
        pairs: Whether the two views are ``anchor`` and ``positive``, compared only across.
        inflation: Adds generated images to training.
        rare: Share of its training images that a class keeps, by class, in (0, 1]: ``{6: 0.01}`` (seeded choice).

    Raises:
        DataNotFoundError: If `root` lacks files, or nothing can be reached and `fallback` is off.
        ValueError: If a number is out of range.
    """

    pixels = (0.286, 0.353)

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 256,
        val_size: int | float = 5000,
        subset: int | None = None,
        imbalance: float | None = None,
        classes: Sequence[int] | None = None,
        n_views: int = 2,
        augmentation: ImageAugmentation | None = None,
        num_workers: int = 0,
        drop_last: bool = True,
        keep_input: bool = False,
        fallback: bool = True,
        url: str = URL,
        cache_dir: str | None = None,
        seed: int = 0,
        sampler: BatchSamplerCallable | None = None,
        pairs: bool = False,
        inflation: Inflation | None = None,
        rare: dict[int, float] | None = None,
    ) -> None:
        super().__init__(
            batch_size, n_views, augmentation, num_workers, drop_last, keep_input, seed, sampler, pairs, inflation
        )
        if subset is not None and subset < 1:
            raise ValueError(f"subset is a number of training images, at least 1, got {subset}")
        if imbalance is not None and not 1 <= imbalance < float("inf"):
            raise ValueError(
                f"imbalance is the ratio of the largest class to the smallest, a number >= 1, got {imbalance}"
            )
        self.root, self.url, self.cache_dir = root, url, cache_dir
        self.imbalance, self.classes = imbalance, classes
        self.rare = check_shares(rare)
        self.val_size, self.subset, self.fallback = val_size, subset, fallback
        self.source = "not looked for yet"
        self.save_hyperparameters(ignore=["augmentation", "sampler", "inflation"], logger=False)

    def default_augmentation(self, seed: int) -> ImageAugmentation:
        """SimCLR's for small grey images."""
        return ImageAugmentation(seed=seed)

    @property
    def class_names(self) -> Sequence[str] | None:
        """Of the labels; None where the digits stand in."""
        return CLASSES if self.source.startswith("Fashion-MNIST in") else None

    def prepare_data(self) -> None:
        """Fetches once per machine, before other processes look."""
        if self.root is None:
            try:
                find_fashion_mnist(None, self.cache_dir, self.url)
            except DataNotFoundError:
                if not self.fallback:
                    raise

    def setup(self, stage: str | None = None) -> None:
        """Reads and splits, once."""
        if hasattr(self, "train_set"):
            return
        try:
            folder = find_fashion_mnist(self.root, self.cache_dir, self.url)
        except DataNotFoundError as error:
            if self.root is not None or not self.fallback:
                raise
            warnings.warn(f"Using scikit-learn's digits instead of Fashion-MNIST. {error}", stacklevel=2)
            self.source = "scikit-learn's digits (Fashion-MNIST was not found)"
            images, labels = read_digits(28)
            rest, test = split_indices(len(images), 0.2, self.seed)
            images, labels, test_images, test_labels = images[rest], labels[rest], images[test], labels[test]
            val_size: int | float = 0.1
        else:
            self.source = f"Fashion-MNIST in {folder}"
            images, labels = read_fashion_mnist(folder, train=True)
            test_images, test_labels = read_fashion_mnist(folder, train=False)
            val_size = self.val_size
        kept, held = split_indices(len(images), val_size, self.seed)
        if self.classes is not None:
            kept = rows_of_classes(labels, kept, self.classes)
        if self.imbalance is not None:
            kept = kept[long_tailed(labels[kept], self.imbalance, self.seed)]
        if self.rare is not None:
            kept = kept[undersampled(labels[kept], self.rare, self.seed)]
        if self.subset is not None and self.subset < len(kept):
            chosen = torch.Generator().manual_seed(self.seed)
            kept = kept[torch.randperm(len(kept), generator=chosen)[: self.subset].sort().values]
        self.train_set = TensorImages(images[kept], labels[kept], kept)
        self.val_set = TensorImages(images[held], labels[held], held)
        self.test_set = TensorImages(test_images, test_labels)
