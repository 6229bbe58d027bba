"""Is the first loss about what guessing would give?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = (
    "no-negatives", "views-identical", "positives-less-similar", "views-unrelated", "id-leaks", "embeddings-alike",
    "temperature-too-low", "temperature-too-high", "ids-repeat", "negatives-excluded", "label-leaks", "few-negatives",
    "anchors-left-out",
)  # fmt: skip


def check(seen: Observation) -> Iterator[Finding]:
    """``loss-above-chance``, ``solved-at-start``, and the note ``loss``."""
    loss, chance = seen.start.get("loss"), seen.start.get("chance")
    if loss is None or chance is None:
        return
    softmax = getattr(seen.module.objective, "form", None) == "softmax"
    evidence = f"the first loss is {loss:.4g}; if all candidates were equally similar it would be {chance:.4g}"
    if softmax and loss > 2 * chance + 1:
        yield Finding(
            "loss-above-chance",
            "warning",
            evidence,
            "The untrained network is confidently wrong: the scores are too sharp for what it can see yet, and the first "
            "steps will be large.",
            "a higher temperature (--model.objective.temperature), or embeddings of smaller norm where the similarity is a "
            "dot product",
        )
    elif softmax and chance > 0.5 and loss < 0.02 * chance:
        yield Finding(
            "solved-at-start",
            "warning",
            evidence,
            "The task is solved before training: there is nothing to learn from it.",
            "stronger views (--data.augmentation), harder negatives, or look for what gives the answer away",
        )
