"""Do anchors have what the objective needs?"""

from collections.abc import Iterator

from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation
from lightning_contrast.contrast import Scores

UNLESS = ("ids-repeat",)


def check(seen: Observation) -> Iterator[Finding]:
    """``anchors-left-out``, ``negatives-excluded``."""
    if not seen.steps or not seen.steps[-1].contrasts:
        return
    contrast = seen.steps[-1].contrasts[0][0]
    few = some_anchors(contrast, 128, 2**18)
    scores, needs = Scores(few), seen.module.objective.needs
    out = 1 - float(scores.has(needs).float().mean())
    if out > 0.1:
        wanted = " and a ".join(sorted(needs))
        yield Finding(
            "anchors-left-out",
            "error" if out > 0.95 else "warning",
            f"{out:.0%} of the anchors have no {wanted}, and are left out of the loss",
            "They teach nothing, but cost as much as the others.",
            "batches in which each label comes at least twice (--data.sampler MPerClassSampler), two views a sample "
            "(--data.n_views 2), or a larger --data.batch_size",
        )
    bare = Scores(few, [rule for rule in few.rules if rule.kind != "exclude"])
    before, after = (int((s.exists & (s.target <= 0)).sum()) for s in (bare, scores))
    if before and 1 - after / before > 0.6:
        yield Finding(
            "negatives-excluded",
            "error" if after == 0 else "warning",
            f"callbacks exclude {1 - after / before:.0%} of the negatives",
            "A filter meant for a few false negatives that takes out most leaves little to be told apart from.",
            "the filter's limits: max_score, quantile or margins of FalseNegativeFilter, count of HardestNegatives",
        )
