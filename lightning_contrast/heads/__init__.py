"""Heads between encoder and objective: projectors, predictors, prototypes."""

from lightning_contrast.heads.head import Head, HeadLike
from lightning_contrast.heads.landmark import LandmarkHead
from lightning_contrast.heads.linear import LinearHead
from lightning_contrast.heads.mlp import MLPHead
from lightning_contrast.heads.per_place import PerPlace, Propagation
from lightning_contrast.heads.prototype import PrototypeHead
from lightning_contrast.heads.reweighting import ReweightingHead
from lightning_contrast.heads.sparse import SparseHead
from lightning_contrast.heads.stacked import StackedHead

__all__ = [
    "Head",
    "HeadLike",
    "LandmarkHead",
    "LinearHead",
    "MLPHead",
    "PrototypeHead",
    "ReweightingHead",
    "SparseHead",
    "StackedHead",
]
__all__ = ["Head", "HeadLike", "LinearHead", "MLPHead", "PerPlace", "Propagation", "PrototypeHead", "StackedHead"]
