"""Are equal samples told to be different?"""

from collections import Counter
from collections.abc import Iterator

from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation
from lightning_contrast.contrast import Scores

UNLESS = ("inputs-constant",)
MANY, MOST = 0.02, 0.5  # of the samples


def check(seen: Observation) -> Iterator[Finding]:
    """``duplicates-as-negatives``."""
    if seen.contents is None or not seen.end.get("negatives") or not (_is_shared(seen) and _same_label_repels(seen)):
        return
    samples = pairs = twins = alike = 0
    for hashes, index in zip(seen.contents.hashes, seen.contents.index, strict=True):
        items = set(zip(hashes, index, strict=True))  # one item twice is known by its index
        copies = Counter(name for name, _ in items)
        samples, pairs = samples + len(items), pairs + len(items) * (len(items) - 1)
        twins += sum(count for count in copies.values() if count > 1)
        alike += sum(count * (count - 1) for count in copies.values())
    share = twins / max(1, samples)
    if share < MANY:
        return
    yield Finding(
        "duplicates-as-negatives",
        "error" if share > MOST else "warning",
        f"{share:.1%} of the samples of {len(seen.contents.hashes)} batches have an equal one under another index in their "
        f"batch; {alike / max(1, pairs):.2%} of the negative pairs are the same thing twice",
        "Equal samples are pushed apart as hard as strangers: the most similar negatives are no negatives.",
        "drop duplicates from the data, give them one `index`, keep them out of a batch (--data.sampler "
        "DistinctBatchSampler), or --trainer.callbacks+=FalseNegativeFilter with max_score 0.99",
    )


def _is_shared(seen: Observation) -> bool:
    """Whether anchors meet what came with others; candidates of their own alone are no neighbours in the batch."""
    blocks = [block for contrast, _ in seen.steps[-1].contrasts for block in contrast.candidates]
    return any(block.where != "private" for block in blocks)


def _same_label_repels(seen: Observation) -> bool:
    """Whether samples of one label are negatives of each other: equal samples have equal labels."""
    contrast = seen.steps[-1].contrasts[0][0]
    if "label" not in contrast.anchors.payload or "label" not in contrast.candidates[0].payload:
        return True
    few = some_anchors(contrast.replace(candidates=contrast.candidates[:1]), 64, 2**17)
    scores = Scores(few)
    same = scores.read(lambda pair: pair.same("label"))
    return bool((same & scores.exists & (scores.target <= 0)).any())
