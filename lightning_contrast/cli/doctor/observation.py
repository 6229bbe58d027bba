"""What was seen of a configuration in its first steps; what checks read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.embedding import two_towers
from lightning_contrast.callbacks.geometry_monitor import GeometryMonitor
from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.cli.doctor.memory import Memory
from lightning_contrast.cli.doctor.numbers import Contents, as_numbers, contents_of
from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.modules.figures import temperature_of

PARTS = ("encoder", "head", "predictor", "key_encoder", "key_head", "objective", "extras")


@dataclass
class Step:
    """One training step.

    ``gradient`` and ``weight`` are norms by part, ``moved`` by which share of itself a part's weights would change in a
    step at the full learning rate, ``untouched`` the parameters that no gradient reached.
    """

    batch: Mapping[str, Any]
    contrasts: list[tuple[Contrast, float]] = field(default_factory=list)
    gradient: dict[str, float] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)
    moved: dict[str, float] = field(default_factory=dict)
    untouched: list[str] = field(default_factory=list)


@dataclass
class Observation:
    """A configuration and its first steps.

    Args:
        asked: the Trainer's settings as configured; the steps ran on one device, without loggers and checkpoints.
        module: the module, after the steps.
        data: the DataModule.
        trainer: the Trainer of the steps.
    """

    asked: Mapping[str, Any]
    module: Any
    data: Any
    trainer: Any
    steps: list[Step] = field(default_factory=list)
    failure: Exception | None = None
    """What ended the steps before their time."""
    reached: str = "set-up"
    """How far the steps came."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Mean seconds of a step by what they go into."""
    memory: Memory | None = None
    unmeasured: str = ""
    """Why memory is not known."""
    mixing: float = 0.0
    """By how much an embedding changes, relative to itself, when other rows of its batch are replaced."""
    noise: float | None = None
    """By how much it changes from one pass to the next (dropout); ``None`` where the steps did not come so far."""

    # Inputs -------------------------------------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> list[Tensor]:
        """The first batches' inputs as numbers, a ``[N, F]`` for each view or side."""
        batches = [list(batch_inputs(step.batch).values()) for step in self.steps[:3]]
        return [torch.cat(parts) for parts in zip(*([as_numbers(x) for x in b] for b in batches), strict=True)]

    @cached_property
    def contents(self) -> Contents | None:
        """What the next batches hold, before views are made of it; ``None`` where the data cannot be indexed."""
        return contents_of(self.trainer.train_dataloader)

    def payload(self, key: str) -> Tensor | None:
        """A payload of the batches of :attr:`inputs`, ``[N]``; ``None`` where they have none."""
        found = [step.batch.get(key) for step in self.steps[:3]]
        return torch.cat([x.cpu() for x in found]) if all(isinstance(x, Tensor) for x in found) and found else None  # type: ignore[union-attr]

    @property
    def rows(self) -> int:
        """Samples a step."""
        return len(self.steps[0].batch["index"]) if self.steps else 0

    @property
    def samples(self) -> int | None:
        """Training samples; ``None`` where the data do not say."""
        dataset: Any = getattr(getattr(self.trainer, "train_dataloader", None), "dataset", None)
        return len(dataset) if hasattr(dataset, "__len__") else None

    # What is compared ---------------------------------------------------------------------------------------------

    @property
    def one_tower(self) -> bool:
        """Whether both sides are embedded by the same network, or a copy of it."""
        return not two_towers(self.module)

    @cached_property
    def start(self) -> dict[str, float]:
        """Loss, chance level and similarities of the first step."""
        return self._figures(self.steps[0]) if self.steps and self.steps[0].contrasts else {}

    @cached_property
    def end(self) -> dict[str, float]:
        """The same of the last step, when memories have filled."""
        return self._figures(self.steps[-1]) if self.steps and self.steps[-1].contrasts else {}

    def _figures(self, step: Step) -> dict[str, float]:
        contrast = step.contrasts[0][0]
        found = GeometryMonitor(sample=256).figures(contrast, self.module.objective)
        loss = sum(loss for _, loss in step.contrasts) / len(step.contrasts)
        out = {"loss": loss, **{key: float(value) for key, value in found.items()}}
        return {**out, "temperature": float(temperature_of(contrast))}

    @cached_property
    def ranking(self) -> float | None:
        """How often a positive is more similar than a negative of its anchor in the first step, in [0, 1].

        Negatives that are an anchor's own, as mined ones are, were chosen for being similar: they are left out.
        """
        if not self.steps or not self.steps[0].contrasts:
            return None
        contrast = self.steps[0].contrasts[0][0]
        first, *others = contrast.candidates
        others = [block for block in others if block.where != "private"]
        scores = Scores(some_anchors(contrast.replace(candidates=(first, *others)), 128, 2**18))
        wins: list[float] = []
        pairs = zip(scores.similarity, scores.exists, scores.target, strict=True)
        for similarity, exists, target in pairs:
            positive, negative = similarity[exists & (target > 0)], similarity[exists & (target <= 0)]
            if len(positive) and len(negative):
                gap = positive[:, None] - negative[None]
                wins.append(float(((gap > 0).float() + 0.5 * (gap == 0).float()).mean()))
        return sum(wins) / len(wins) if wins else None

    @property
    def bounded(self) -> bool:
        """Whether similarities are cosines, for which temperatures have a usual range."""
        return bool(self.steps and self.steps[0].contrasts) and self.steps[0].contrasts[0][0].similarity.bound == 1.0  # type: ignore[union-attr]
