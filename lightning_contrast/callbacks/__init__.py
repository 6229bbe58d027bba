"""One callback a file."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.callbacks.debiasing import Debiasing
from lightning_contrast.callbacks.embedding_writer import EmbeddingWriter
from lightning_contrast.callbacks.false_negative_filter import FalseNegativeFilter
from lightning_contrast.callbacks.geometry_monitor import GeometryMonitor
from lightning_contrast.callbacks.hard_negative_refresh import HardNegativeRefresh
from lightning_contrast.callbacks.hardness_weighting import HardnessWeighting
from lightning_contrast.callbacks.last_checkpoint import LastCheckpoint
from lightning_contrast.callbacks.memory_bank import MemoryBank
from lightning_contrast.callbacks.memory_queue import MemoryQueue
from lightning_contrast.callbacks.mixed_negatives import MixedNegatives
from lightning_contrast.callbacks.online_knn import OnlineKNN
from lightning_contrast.callbacks.online_linear_probe import OnlineLinearProbe
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.callbacks.temperature_schedule import TemperatureSchedule
from lightning_contrast.callbacks.whole_files import WholeFiles

__all__ = [
    "ContrastCallback",
    "Debiasing",
    "EmbeddingWriter",
    "FalseNegativeFilter",
    "GeometryMonitor",
    "HardNegativeRefresh",
    "HardnessWeighting",
    "LastCheckpoint",
    "MemoryBank",
    "MemoryQueue",
    "MixedNegatives",
    "OnlineKNN",
    "OnlineLinearProbe",
    "Reembed",
    "TemperatureSchedule",
    "WholeFiles",
]
