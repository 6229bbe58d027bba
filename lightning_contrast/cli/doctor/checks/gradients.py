"""Does every part receive a gradient of a sensible size?"""

import math
from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = (
    "embeddings-alike", "no-negatives", "negatives-excluded", "ids-repeat", "views-identical", "anchors-left-out",
    "temperature-too-low", "loss-above-chance",
)  # fmt: skip
EXPLODES = 100.0  # of the norm of the weights


def check(seen: Observation) -> Iterator[Finding]:
    """``dead-gradient``, ``exploding-gradient``, ``unused-parameters``."""
    steps = [step for step in seen.steps if step.gradient]
    if not steps:
        return
    for part in steps[0].gradient:
        zeros = steps[0].weight[part] == 0  # such as a bias: no norm to be measured by
        sizes = [step.gradient[part] / (1.0 if zeros else max(step.weight[part], 1e-12)) for step in steps]
        if max(sizes) < 1e-12:
            yield Finding(
                "dead-gradient",
                "warning" if part in ("objective", "extras") else "error",  # prototypes may wait for their turn (SwAV)
                f"no gradient reaches the {part} in {len(steps)} steps",
                "It stays as it was initialised.",
                f"--model.{part}: something before the loss cuts the graph (detach, argmax, units that are never active); "
                "what is not to be trained should not require a gradient",
            )
        elif not math.isfinite(max(sizes)) or sorted(sizes)[len(sizes) // 2] > EXPLODES:
            clipped = seen.asked.get("gradient_clip_val")
            yield Finding(
                "exploding-gradient",
                "warning" if clipped else "error",
                f"the gradient of the {part} is {max(sizes):.3g} times the norm of its weights"
                + (f" (clipped to {clipped:g})" if clipped else ""),
                "One step throws away what all others have learned.",
                "--trainer.gradient_clip_val 1.0, a norm layer, or inputs of a smaller scale",
            )
    unused = set.intersection(*(set(step.untouched) for step in steps))
    dead = {part for part in steps[0].gradient if all(step.gradient[part] == 0 for step in steps)}
    unused = {name for name in unused if name.split(".")[0] not in dead}
    if unused:
        yield Finding(
            "unused-parameters",
            "warning",
            f"no gradient ever reaches {len(unused)} parameters: {', '.join(sorted(unused)[:4])}",
            "They are never trained, and DistributedDataParallel stops with an error at the second step.",
            "remove them, freeze them, or --trainer.strategy ddp_find_unused_parameters_true",
        )
