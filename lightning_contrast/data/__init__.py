"""The batch contract, views, samplers and DataModules."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.data.altered import Altered, Forgeries, PastedDigits
from lightning_contrast.data.architectures import ArchitectureDataModule
from lightning_contrast.data.asked import ScoredBy, WrittenBy
from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.batch import check_batch
from lightning_contrast.data.binding_batches import BindingBatchSampler
from lightning_contrast.data.coloured import ColouredDataModule
from lightning_contrast.data.community_batches import CommunityBatchSampler
from lightning_contrast.data.consecutive_batches import ConsecutiveBatchSampler
from lightning_contrast.data.consistent_pairs import ConsistentPairs
from lightning_contrast.data.contrastive_dataset import ContrastiveDataset
from lightning_contrast.data.digits import DigitsDataModule
from lightning_contrast.data.distinct_batches import DistinctBatchSampler
from lightning_contrast.data.exact_resume import ExactResume
from lightning_contrast.data.fashion_mnist_datamodule import FashionMNISTDataModule
from lightning_contrast.data.hashed_words import HashedWords
from lightning_contrast.data.image_datamodule import ImageDataModule
from lightning_contrast.data.image_folder import ImageFolderDataModule
from lightning_contrast.data.inflation import InflatedImages, Inflation
from lightning_contrast.data.labelled_pairs import LabelledPairs
from lightning_contrast.data.length_batches import LengthBatchSampler
from lightning_contrast.data.loader import ResumableLoader, make_resumable
from lightning_contrast.data.low_resolution import LowResolution
from lightning_contrast.data.m_per_class import MPerClassBatchSampler
from lightning_contrast.data.mined import MinedBatchSampler
from lightning_contrast.data.mixed_batches import OneSourceBatchSampler
from lightning_contrast.data.mixed_texts import MixedTextDataModule
from lightning_contrast.data.multi_crop import MultiCrop
from lightning_contrast.data.neighbour_batches import NeighbourBatchSampler
from lightning_contrast.data.noise_path import NoisePath
from lightning_contrast.data.package_search import PackageSearchDataModule
from lightning_contrast.data.package_texts import PackageTextDataModule
from lightning_contrast.data.places import PlacesDataModule, Visits
from lightning_contrast.data.propositions import SpanTokenizer, VerseClauseDataModule
from lightning_contrast.data.pseudo_label_batches import PseudoLabelBatchSampler
from lightning_contrast.data.python_code import PythonCodeDataModule
from lightning_contrast.data.rewritten_queries import RewrittenQueries
from lightning_contrast.data.samplers import ShuffledBatchSampler
from lightning_contrast.data.scored_pairs import ScoredPairs
from lightning_contrast.data.tensor_images import TensorImages
from lightning_contrast.data.text_collate import TextCollate
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_edits import SpanDeletion, SynonymSubstitution, WordHalf
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_scores import TextScore, WordOverlap
from lightning_contrast.data.text_vectors import EmbeddedBy, TextVectors, WordVectors
from lightning_contrast.data.text_views import (
    TextView,
    TextViewsInTurn,
    WordCropping,
    WordDeletion,
    WordReordering,
    WordRepetition,
)
from lightning_contrast.data.token_masking import CodeMasking, WordMasking
from lightning_contrast.data.token_pairs import TokenPairs
from lightning_contrast.data.tokenizer import TextTokenizer
from lightning_contrast.data.tree_bands import TreeBandDataModule
from lightning_contrast.data.verse_windows import TextPart, VerseWindowDataModule
from lightning_contrast.data.verses import VerseDataModule
from lightning_contrast.data.word_contexts import WordContextDataModule
from lightning_contrast.data.word_siblings import SiblingSubstitution
from lightning_contrast.data.wordnet_datamodule import WordNetDataModule

__all__ = [
    "Altered",
    "ArchitectureDataModule",
    "BindingBatchSampler",
    "CodeMasking",
    "ColouredDataModule",
    "CommunityBatchSampler",
    "ConsecutiveBatchSampler",
    "ConsistentPairs",
    "ContrastiveDataset",
    "DigitsDataModule",
    "DistinctBatchSampler",
    "EmbeddedBy",
    "ExactResume",
    "FashionMNISTDataModule",
    "Forgeries",
    "HashedWords",
    "ImageAugmentation",
    "ImageDataModule",
    "ImageFolderDataModule",
    "InflatedImages",
    "Inflation",
    "LabelledPairs",
    "LengthBatchSampler",
    "LowResolution",
    "MPerClassBatchSampler",
    "MinedBatchSampler",
    "MixedTextDataModule",
    "MultiCrop",
    "NeighbourBatchSampler",
    "NoisePath",
    "OneSourceBatchSampler",
    "PackageSearchDataModule",
    "PackageTextDataModule",
    "PastedDigits",
    "PlacesDataModule",
    "PseudoLabelBatchSampler",
    "PythonCodeDataModule",
    "ResumableLoader",
    "RewrittenQueries",
    "ScoredBy",
    "ScoredPairs",
    "ShuffledBatchSampler",
    "SiblingSubstitution",
    "SpanDeletion",
    "SpanTokenizer",
    "SynonymSubstitution",
    "TensorImages",
    "TextCollate",
    "TextDataError",
    "TextDataModule",
    "TextPart",
    "TextScore",
    "TextTokenizer",
    "TextVectors",
    "TextView",
    "TextViewsInTurn",
    "TokenPairs",
    "TreeBandDataModule",
    "VerseClauseDataModule",
    "VerseDataModule",
    "VerseWindowDataModule",
    "Visits",
    "WordContextDataModule",
    "WordCropping",
    "WordDeletion",
    "WordHalf",
    "WordMasking",
    "WordNetDataModule",
    "WordOverlap",
    "WordReordering",
    "WordRepetition",
    "WordVectors",
    "WrittenBy",
    "check_batch",
    "make_resumable",
]
