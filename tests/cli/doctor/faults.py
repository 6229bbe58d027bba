"""Data and encoders that are wrong in one way each."""

import time
from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.data.digits import DigitsDataModule
from lightning_contrast.data.tensor_images import TensorImages
from lightning_contrast.encoders import Encoder

PIXELS = 64


class SpoiledViews(DigitsDataModule):
    """Digits whose views are spoiled in the way of that name."""

    def __init__(self, *args: Any, fault: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fault = fault

    def make_views(self, batch: dict[str, Any], epoch: int = 0, keep_input: bool = False) -> dict[str, Any]:
        made = super().make_views(batch, epoch, keep_input)
        getattr(self, f"_{self.fault}")(made)
        return made

    def _strangers(self, made: dict[str, Any]) -> None:
        made["views"][1] = made["views"][1].roll(1, 0)

    def _inverted(self, made: dict[str, Any]) -> None:
        made["views"][1] = -made["views"][0]

    def _labelled(self, made: dict[str, Any]) -> None:
        for view in made["views"]:
            view[:, 0, 0, 0] = made["label"] / 10

    def _numbered(self, made: dict[str, Any]) -> None:
        """The index in eleven bits, so that no single pixel tells it."""
        bits = (made["index"][:, None] >> torch.arange(11)) & 1
        for view in made["views"]:
            view[:, 0].flatten(1)
            view[:, 0, 0, :8], view[:, 0, 1, :3] = bits[:, :8].float(), bits[:, 8:].float()

    def _one_index(self, made: dict[str, Any]) -> None:
        made["index"] = made["index"] % 2

    def _own_label(self, made: dict[str, Any]) -> None:
        made["label"] = made["index"]

    def _bright(self, made: dict[str, Any]) -> None:
        made["views"] = [view * 255 for view in made["views"]]

    def _nan(self, made: dict[str, Any]) -> None:
        made["views"][1][3, 0, 2, 2] = torch.nan

    def _blank(self, made: dict[str, Any]) -> None:
        made["views"] = [torch.zeros_like(view) for view in made["views"]]

    def _noise(self, made: dict[str, Any]) -> None:
        """Views that differ by next to nothing, but differ."""
        made["views"][1] = made["views"][0] + 0.05 * torch.randn_like(made["views"][0])

    def _slow(self, made: dict[str, Any]) -> None:
        time.sleep(0.3)

    def _copies(self, made: dict[str, Any]) -> None:
        """Negatives of the data set that are the positive again."""
        made["anchor"], made["positive"] = made.pop("views")
        made["negative"] = made["positive"].clone()


class Repeated(DigitsDataModule):
    """Every image four times, each with an index of its own."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        images = self.train_set.images[:64].repeat(4, 1, 1, 1)
        self.train_set = TensorImages(images, self.train_set.labels[:64].repeat(4))


class SlowImages(TensorImages):
    def __getitems__(self, positions: list[int]) -> dict[str, Tensor]:
        time.sleep(0.3)
        return super().__getitems__(positions)


class SlowDisk(DigitsDataModule):
    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.train_set = SlowImages(self.train_set.images, self.train_set.labels)


class SpoiledEncoder(Encoder):
    """A layer over the pixels, spoiled in the way of that name."""

    output_dim = 16

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.layer = nn.Linear(PIXELS, self.output_dim)
        if fault == "spare":
            self.spare = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, f"_{self.fault}")(x.flatten(1))

    def _detached(self, x: Tensor) -> Tensor:
        return self.layer(x).detach()

    def _steep(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return z + 1e6 * (z - z.detach())

    def _dead(self, x: Tensor) -> Tensor:
        return (self.layer(x) - 1e3).relu()

    def _spare(self, x: Tensor) -> Tensor:
        return self.layer(x)

    def _large(self, x: Tensor) -> Tensor:
        return 30 * self.layer(x)

    def _raising(self, x: Tensor) -> Tensor:
        raise KeyError("no such thing")

    def _greedy(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")


class Pixels(Encoder):
    """The pixels, less their mean over the digits seen."""

    output_dim = PIXELS

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(PIXELS, PIXELS, bias=False)
        nn.init.eye_(self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.layer(x - x.mean(0))
