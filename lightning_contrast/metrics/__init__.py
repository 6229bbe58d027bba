"""torchmetrics Metrics for embeddings, usable outside this library."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.metrics.class_geometry import ClassGeometry
from lightning_contrast.metrics.geometry import Alignment, ModalityGap, Tolerance, Uniformity
from lightning_contrast.metrics.knn import KNNAccuracy
from lightning_contrast.metrics.neighbours import Hubness, LinearCKA, MutualKNN
from lightning_contrast.metrics.retrieval import EmbeddingRetrieval
from lightning_contrast.metrics.ridge import FewLabelAccuracy, RidgeProbe
from lightning_contrast.metrics.scores import ScoreHistogram
from lightning_contrast.metrics.spectrum import EffectiveRank, LiDAR, RankMe

__all__ = [
    "Alignment",
    "ClassGeometry",
    "EffectiveRank",
    "EmbeddingRetrieval",
    "FewLabelAccuracy",
    "Hubness",
    "KNNAccuracy",
    "LiDAR",
    "LinearCKA",
    "ModalityGap",
    "MutualKNN",
    "RankMe",
    "RidgeProbe",
    "ScoreHistogram",
    "Tolerance",
    "Uniformity",
]
