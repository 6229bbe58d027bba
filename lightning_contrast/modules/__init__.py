"""LightningModules."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.modules.alternating import AlternatingModule
from lightning_contrast.modules.contrastive import ContrastiveModule
from lightning_contrast.modules.late_interaction import LateInteractionModule
from lightning_contrast.modules.min_norm import MinNormModule
from lightning_contrast.modules.pair_views import PairViewsModule

__all__ = ["AlternatingModule", "ContrastiveModule", "LateInteractionModule", "MinNormModule", "PairViewsModule"]
