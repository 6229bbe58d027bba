"""Contrastive training of any encoder with PyTorch Lightning."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_contrast.contrast import Candidates, Contrast, Cosine, Dot, Pair, Similarity, pair_function
    from lightning_contrast.modules import ContrastiveModule

__version__ = "0.1.0"
__all__ = [
    "Candidates",
    "Contrast",
    "ContrastiveModule",
    "Cosine",
    "Dot",
    "Pair",
    "Similarity",
    "pair_function",
]


def __getattr__(name: str) -> Any:
    # torch and Lightning take seconds to import; the command line lists and explains without them, and the hall works
    # without Lightning.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "modules" if name == "ContrastiveModule" else "contrast"
    try:
        return getattr(importlib.import_module(f"lightning_contrast.{home}"), name)
    except Exception as error:
        from lightning_contrast.broken_torchvision import torchvision_failed

        if told := torchvision_failed(error):
            raise ImportError(told) from None
        raise
