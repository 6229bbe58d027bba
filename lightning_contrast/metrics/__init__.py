"""torchmetrics Metrics for embeddings, usable outside this library."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.metrics.agreement import TwoWayAgreement
from lightning_contrast.metrics.attention import AttentionDistance
from lightning_contrast.metrics.augmented_distance import ClassDivergence, Concentration, Misalignment
from lightning_contrast.metrics.class_collapse import SubclassShare
from lightning_contrast.metrics.class_geometry import ClassGeometry
from lightning_contrast.metrics.clustering import ClusteringAgreement
from lightning_contrast.metrics.dense_geometry import DenseAlignment, DenseUniformity
from lightning_contrast.metrics.geometry import Alignment, ModalityGap, Tolerance, Uniformity
from lightning_contrast.metrics.gradient_share import GradientShare
from lightning_contrast.metrics.group_harm import AllocationHarm, RepresentationHarm
from lightning_contrast.metrics.knn import KNNAccuracy
from lightning_contrast.metrics.logistic import LogisticProbe
from lightning_contrast.metrics.neighbours import Hubness, LinearCKA, MutualKNN
from lightning_contrast.metrics.neuron_matching import UnitMatching
from lightning_contrast.metrics.out_of_distribution import OutOfDistribution
from lightning_contrast.metrics.pair_correlation import PairCorrelation
from lightning_contrast.metrics.reranking import Reranking
from lightning_contrast.metrics.retrieval import EmbeddingRetrieval
from lightning_contrast.metrics.ridge import FewLabelAccuracy, RidgeProbe
from lightning_contrast.metrics.scores import ScoreHistogram
from lightning_contrast.metrics.spectrum import EffectiveRank, LiDAR, RankMe
from lightning_contrast.metrics.staleness import QueueStaleness
from lightning_contrast.metrics.task_space import TaskDistance
from lightning_contrast.metrics.two_sample_critic import CriticDivergence

__all__ = [
    "Alignment",
    "AllocationHarm",
    "AttentionDistance",
    "ClassDivergence",
    "ClassGeometry",
    "ClusteringAgreement",
    "Concentration",
    "CriticDivergence",
    "DenseAlignment",
    "DenseUniformity",
    "EffectiveRank",
    "EmbeddingRetrieval",
    "FewLabelAccuracy",
    "GradientShare",
    "Hubness",
    "KNNAccuracy",
    "LiDAR",
    "LinearCKA",
    "LogisticProbe",
    "Misalignment",
    "ModalityGap",
    "MutualKNN",
    "OutOfDistribution",
    "PairCorrelation",
    "QueueStaleness",
    "RankMe",
    "RepresentationHarm",
    "Reranking",
    "RidgeProbe",
    "ScoreHistogram",
    "SubclassShare",
    "TaskDistance",
    "Tolerance",
    "TwoWayAgreement",
    "Uniformity",
    "UnitMatching",
]
