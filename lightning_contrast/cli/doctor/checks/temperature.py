"""Is the temperature one at which scores can tell candidates apart?"""

import math
from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

LOW, LOWEST = 0.01, 0.005  # CLIP's least; ArcFace's scale of 64 is 0.016
HIGH = 1.0
OPTION = "--model.objective.temperature: 0.05 to 0.5 are usual with cosine"


def check(seen: Observation) -> Iterator[Finding]:
    """``temperature-too-low``, ``temperature-too-high``; of softmax losses over cosines."""
    temperature, negatives = seen.end.get("temperature"), seen.end.get("negatives", 0.0)
    if temperature is None or not seen.bounded or getattr(seen.module.objective, "form", None) != "softmax":
        return
    if temperature < LOW:
        yield Finding(
            "temperature-too-low",
            "error" if temperature < LOWEST else "warning",
            f"temperature {temperature:.4g}: a difference of 0.1 in cosine is a factor of "
            f"{math.exp(min(0.1 / temperature, 700)):.3g}",
            "The hardest negative alone has all the weight, be it a false one; gradients are "
            f"{1 / temperature:.0f} times those of the similarities.",
            OPTION,
        )
    elif temperature >= HIGH and negatives >= 1:
        best, chance = math.log1p(negatives * math.exp(-1 / temperature)), math.log1p(negatives)
        yield Finding(
            "temperature-too-high",
            "error" if temperature > 5 else "warning",
            f"temperature {temperature:.4g}: with positives at cosine 1 and all {negatives:.0f} negatives at 0 the loss "
            f"would still be {best:.2f}, where chance is {chance:.2f}",
            "All negatives count nearly alike, and a solved task looks like an unsolved one.",
            OPTION,
        )
