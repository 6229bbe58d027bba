"""Does an embedding tell with whom it was in a batch?"""

from collections.abc import Iterator
from typing import Any

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation
from lightning_contrast.encoders import Teacher
from lightning_contrast.modules.chunks import batch_norms

UNLESS = ("embeddings-alike",)
_REPLACED = "; replacing every other row of a batch changes the embeddings of the rest by {:.1%}"


def check(seen: Observation) -> Iterator[Finding]:
    """``batch-norm-across-ranks``, ``batch-norm-across-views``, ``batch-norm-in-chunks``."""
    parts = [name for name in ("encoder", "head", "predictor") if _normed(getattr(seen.module, name))]
    if not parts:
        return
    evidence = f"BatchNorm in {', '.join(parts)}" + (_REPLACED.format(seen.mixing) if seen.mixing > 1e-6 else "")
    if processes(seen.asked) > 1 and not seen.asked.get("sync_batchnorm"):
        yield Finding(
            "batch-norm-across-ranks",
            "warning",
            f"{evidence}; {processes(seen.asked)} processes each normalise by their own rows",
            "Positives share the statistics of one process, most negatives have others': the network can tell them "
            "apart by that alone.",
            "--trainer.sync_batchnorm true, or GroupNorm (--model.encoder.norm group)",
        )
    if isinstance(seen.module.key_encoder, Teacher) and _private_positives(seen):
        yield Finding(
            "batch-norm-across-views",
            "warning",
            f"{evidence}; keys of the batch are positives alone, and negatives come from earlier batches",
            "An anchor and its positive were normalised among the same samples, negatives among others: the network can "
            "tell them apart by that alone (He et al. 2020 shuffle the batch between processes against it).",
            "GroupNorm or none (--model.encoder.norm group, --model.head.batch_norm false)",
        )
    if seen.module.chunk_size is not None and seen.module.chunk_size < 2 * seen.rows:
        yield Finding(
            "batch-norm-in-chunks",
            "warning",
            f"{evidence}; a chunk of {seen.module.chunk_size} rows is normalised by itself",
            "The gradient is not that of the whole batch, and an embedding tells which chunk it was in.",
            "GroupNorm or none (--model.encoder.norm group, --model.head.batch_norm false)",
        )


def processes(asked: Any) -> int:
    """How many processes the Trainer's settings ask for; what they leave open counts as one."""
    devices, nodes = asked.get("devices", 1), int(asked.get("num_nodes") or 1)
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    count = len(devices) if isinstance(devices, (list, tuple)) else devices if isinstance(devices, int) else 1
    return nodes * max(1, count)


def _normed(part: Any) -> bool:
    return part is not None and bool(batch_norms(part))


def _private_positives(seen: Observation) -> bool:
    blocks = seen.steps[-1].contrasts[0][0].candidates if seen.steps and seen.steps[-1].contrasts else ()
    return len(blocks) > 1 and blocks[0].where == "private"
