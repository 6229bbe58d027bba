"""Checkpoints that appear whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from lightning_contrast.functional.whole_file import whole_file


class WholeFiles(TorchCheckpointIO):
    """Writes beside the target and moves: a process killed while saving leaves the previous checkpoint as it was.

    Lightning's own writes into the system's temporary folder and moves from there, which across file systems is a copy
    that can be cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Local files only; remote addresses go Lightning's way."""
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)
