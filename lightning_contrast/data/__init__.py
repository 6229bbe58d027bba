"""The batch contract, views, samplers and DataModules."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.batch import check_batch
from lightning_contrast.data.contrastive_dataset import ContrastiveDataset
from lightning_contrast.data.digits import DigitsDataModule
from lightning_contrast.data.exact_resume import ExactResume
from lightning_contrast.data.fashion_mnist_datamodule import FashionMNISTDataModule
from lightning_contrast.data.image_datamodule import ImageDataModule
from lightning_contrast.data.image_folder import ImageFolderDataModule
from lightning_contrast.data.loader import ResumableLoader, make_resumable
from lightning_contrast.data.m_per_class import MPerClassBatchSampler
from lightning_contrast.data.samplers import ShuffledBatchSampler
from lightning_contrast.data.tensor_images import TensorImages

__all__ = [
    "ContrastiveDataset",
    "DigitsDataModule",
    "ExactResume",
    "FashionMNISTDataModule",
    "ImageAugmentation",
    "ImageDataModule",
    "ImageFolderDataModule",
    "MPerClassBatchSampler",
    "ResumableLoader",
    "ShuffledBatchSampler",
    "TensorImages",
    "check_batch",
    "make_resumable",
]
