"""One callback a file."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.callbacks.adversarial_negatives import AdversarialNegatives
from lightning_contrast.callbacks.batch_mining import BatchMining
from lightning_contrast.callbacks.bm25_negatives import BM25Negatives
from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.callbacks.centre_of_features import CentreOfFeatures
from lightning_contrast.callbacks.cluster_negatives import ClusterNegatives
from lightning_contrast.callbacks.clustered_memory import ClusteredMemory
from lightning_contrast.callbacks.debiasing import Debiasing
from lightning_contrast.callbacks.embedding_snapshots import EmbeddingSnapshots
from lightning_contrast.callbacks.embedding_writer import EmbeddingWriter
from lightning_contrast.callbacks.entry_bank import EntryBank
from lightning_contrast.callbacks.false_negative_filter import FalseNegativeFilter
from lightning_contrast.callbacks.feature_transformation import FeatureTransformation
from lightning_contrast.callbacks.geometry_monitor import GeometryMonitor
from lightning_contrast.callbacks.hard_negative_refresh import HardNegativeRefresh
from lightning_contrast.callbacks.hardest_negatives import HardestNegatives
from lightning_contrast.callbacks.hardness_weighting import HardnessWeighting
from lightning_contrast.callbacks.importance_weights import ImportanceWeights
from lightning_contrast.callbacks.invariance_propagation import InvariancePropagation
from lightning_contrast.callbacks.last_checkpoint import LastCheckpoint
from lightning_contrast.callbacks.memory_bank import MemoryBank
from lightning_contrast.callbacks.memory_queue import MemoryQueue
from lightning_contrast.callbacks.mixed_negatives import MixedNegatives
from lightning_contrast.callbacks.noise_negatives import NoiseNegatives
from lightning_contrast.callbacks.online_knn import OnlineKNN
from lightning_contrast.callbacks.online_linear_probe import OnlineLinearProbe
from lightning_contrast.callbacks.pair_evaluation import PairEvaluation
from lightning_contrast.callbacks.prototype_memory import PrototypeMemory
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.callbacks.score_histograms import ScoreHistograms
from lightning_contrast.callbacks.search_evaluation import SearchEvaluation
from lightning_contrast.callbacks.selec_mix import SelecMix
from lightning_contrast.callbacks.self_guidance import SelfGuidance
from lightning_contrast.callbacks.stage_clusters import StageClusters
from lightning_contrast.callbacks.staleness_monitor import StalenessMonitor
from lightning_contrast.callbacks.subclasses import Subclasses
from lightning_contrast.callbacks.teacher_embedding import TeacherEmbedding
from lightning_contrast.callbacks.temperature_schedule import TemperatureSchedule
from lightning_contrast.callbacks.train_teacher import TrainTeacher
from lightning_contrast.callbacks.whole_files import WholeFiles

__all__ = [
    "AdversarialNegatives",
    "BM25Negatives",
    "BatchMining",
    "CentreOfFeatures",
    "ClusterNegatives",
    "ClusteredMemory",
    "ContrastCallback",
    "Debiasing",
    "EmbeddingSnapshots",
    "EmbeddingWriter",
    "EntryBank",
    "FalseNegativeFilter",
    "FeatureTransformation",
    "GeometryMonitor",
    "HardNegativeRefresh",
    "HardestNegatives",
    "HardnessWeighting",
    "ImportanceWeights",
    "InvariancePropagation",
    "LastCheckpoint",
    "MemoryBank",
    "MemoryQueue",
    "MixedNegatives",
    "NoiseNegatives",
    "OnlineKNN",
    "OnlineLinearProbe",
    "PairEvaluation",
    "PrototypeMemory",
    "Reembed",
    "ScoreHistograms",
    "SearchEvaluation",
    "SelecMix",
    "SelfGuidance",
    "StageClusters",
    "StalenessMonitor",
    "Subclasses",
    "TeacherEmbedding",
    "TemperatureSchedule",
    "TrainTeacher",
    "WholeFiles",
]
