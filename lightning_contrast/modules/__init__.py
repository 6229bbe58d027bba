"""LightningModules."""

import lightning_contrast.lightning_imports  # noqa: F401
from lightning_contrast.modules.contrastive import ContrastiveModule

__all__ = ["ContrastiveModule"]
