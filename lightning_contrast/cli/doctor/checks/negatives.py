"""Is there anything to be told apart from?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("ids-repeat", "negatives-excluded", "anchors-left-out")
FEW = 16


def check(seen: Observation) -> Iterator[Finding]:
    """``no-negatives``, ``few-negatives``."""
    negatives, chance = seen.end.get("negatives"), seen.end.get("chance")
    if negatives is None or chance is None:
        return
    if negatives == 0 and abs(chance) < 1e-6 and abs(seen.end["loss"]) < 1e-6:
        yield Finding(
            "no-negatives",
            "error",
            f"after {len(seen.steps)} steps an anchor has no negatives, and the loss is {seen.end['loss']:.3g}",
            "A softmax over the positive alone is 0 whatever the network does: nothing is learned.",
            "--model.in_batch true, --trainer.callbacks+=MemoryQueue, or a larger --data.batch_size",
        )
    elif 0 < negatives < FEW and getattr(seen.module.objective, "form", None) == "softmax" and not _by_class(seen):
        yield Finding(
            "few-negatives",
            "warning",
            f"an anchor has {negatives:.0f} negatives",
            "A loss over few negatives is soon solved, and bounds the information that can be learned by "
            "log(negatives + 1).",
            "a larger --data.batch_size (with --model.chunk_size it costs no memory), or "
            "--trainer.callbacks+=MemoryQueue",
        )


def _by_class(seen: Observation) -> bool:
    """Whether candidates are one prototype a class, of which there are as many as there are classes."""
    return seen.steps[-1].contrasts[0][0].candidates[0].where == "replicated"
