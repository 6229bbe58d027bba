"""One run of a comparison or a study: what it is, and by what it is known again."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import lightning_contrast.data
from lightning_contrast import __version__
from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.cli.recipes import FOLDER

BASELINES = ("raw pixels", "untrained encoder", "BM25")
"""Not trained; shown beside the rest."""
PROTOCOLS = {
    "labels": "by_label", "search": "by_search", "unseen classes": "by_unseen", "numbers": "by_number",
    "classifier": "by_classifier", "before and after": "by_own",
}  # fmt: skip
"""Ways of scoring, and the modules beside this one that do it."""
OWN = "before and after"
"""The one by which each row has data of its own."""
_BASE = str(FOLDER / "simclr.yaml")
_WHERE = ("--data.root=", "--data.cache_dir=", "--data.url=")
"""Where data lie does not change what comes out."""
_MONITORS = {"OnlineKNN", "OnlineLinearProbe", "GeometryMonitor", "PairEvaluation", "SearchEvaluation"}


@dataclass(frozen=True)
class Job:
    """A row of the table, a seed and a budget.

    Args:
        slug: of a recipe, one of ``BASELINES``, or the name of a study's row.
        seed: of everything.
        seconds: of one core that training may take; without effect when ``steps`` is given.
        steps: of the optimizer, or None.
        others: further options as for ``fit``, each ``--name=value``, the same for all runs.
        configs: of a study's row: what to give to ``--config``, one over the other. Without them, the recipe of that slug, on
            the encoder that all methods share.
        points: of the curve of the validation score.
        protocol: by which it is scored, of ``PROTOCOLS``; empty: what fits the data.
    """

    slug: str
    seed: int = 0
    seconds: float = 180.0
    steps: int | None = None
    others: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    points: int = 0
    protocol: str = ""

    @property
    def setting(self) -> str:
        """What runs must share to be compared."""
        budget = f"{self.seconds:g} seconds of one core" if self.steps is None else f"{self.steps} steps"
        return " ".join([budget, *(option for option in self.others if not option.startswith(_WHERE))])

    def settings(self) -> dict[str, Any]:
        """As read from files, without monitors: they cost time."""
        if self.configs:
            own = read_arguments([f"--config={config}" for config in self.configs]).config
        else:
            shared = read_arguments([f"--config={_BASE}"]).config
            if self.slug in BASELINES:
                return shared
            own = read_arguments([f"--config={self.slug}"]).config
            model = parts_of(own)
            around = model["encoder"].get("init_args", {})  # an encoder may stand around another
            if "encoder" in around:  # which gives the one inside its pictures, perhaps with more channels
                asked = around["encoder"].get("init_args", {})
                kept = {"channels": asked["channels"]} if "channels" in asked else {}
                inside = shared["model"]["encoder"]
                around["encoder"] = {**inside, "init_args": {**inside.get("init_args", {}), **kept}}
            else:
                model["encoder"] = shared["model"]["encoder"]
        trainer = own.setdefault("trainer", {})
        trainer["callbacks"] = [c for c in trainer.get("callbacks") or [] if part_name(c) not in _MONITORS]
        return own

    def fingerprint(self) -> str:
        """Changes with everything that a result depends on, as far as settings and version go."""
        known = {"settings": self.settings(), "setting": self.setting, "version": __version__}
        if self.protocol:
            known["protocol"] = self.protocol
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]


FEWER = {"classes", "imbalance", "rare", "subset"}
"""Settings of data that leave samples out."""


def parts_of(settings: dict[str, Any]) -> dict[str, Any]:
    """The module's arguments, whichever its class."""
    model: dict[str, Any] = settings["model"]
    return model["init_args"] if "class_path" in model else model


RESTORERS = {"Upscaler"}
"""Encoders that make pictures, not features."""


def on_shared_data(slug: str) -> bool:
    """Whether this recipe trains on the data that methods are compared on, all of them."""
    shared, own = (read_arguments([f"--config={config}"]).config["data"] for config in (_BASE, slug))
    return part_name(own) == part_name(shared) and not FEWER & own.get("init_args", {}).keys()


def on_texts(slug: str) -> bool:
    """Whether this recipe trains on texts, by its DataModule."""
    kind = part_name(read_arguments([f"--config={slug}"]).config["data"])
    return hasattr(getattr(lightning_contrast.data, kind, None), "query_inputs")


def makes_features(slug: str) -> bool:
    """Whether this recipe's encoder makes features, which the scores of the comparison read."""
    return part_name(parts_of(read_arguments([f"--config={slug}"]).config)["encoder"]) not in RESTORERS


def part_name(part: Any) -> str:
    """The class of a part of the settings, without its module."""
    path = part.get("class_path", "") if isinstance(part, dict) else str(part)
    return path.rpartition(".")[2]
