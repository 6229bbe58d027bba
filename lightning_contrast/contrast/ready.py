"""A contrast made ready to be read: defaults filled, embeddings checked and prepared, rows exchanged."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.contrast import Contrast, Temperature
from lightning_contrast.contrast.exchange import exchanged, stopped
from lightning_contrast.contrast.similarity import Cosine, Similarity, wide
from lightning_contrast.contrast.target import Paired
from lightning_contrast.functional.finite import NonFiniteError, bad_rows, first_of


def ready(contrast: Contrast, anchors: bool = False) -> Contrast:
    """As :func:`prepared`, then rows exchanged.

    Raises:
        ValueError: as :func:`prepared`; non-finite embeddings of one rank on all of them.
        RuntimeError: if the blocks of other ranks do not fit.
    """
    with told(contrast):
        local = prepared(contrast, {})
    return exchanged(local, anchors)


@contextmanager
def told(contrast: Contrast) -> Iterator[None]:
    """Non-finite embeddings found inside, before rows are exchanged, are an error on all ranks.

    Args:
        contrast: the first one whose rows the ranks exchange afterwards.
    """
    try:
        yield
    except NonFiniteError:
        stopped(contrast)
        raise


def prepared(contrast: Contrast, done: dict[int, Candidates]) -> Contrast:
    """Defaults filled, embeddings checked and prepared.

    Args:
        contrast: local rows.
        done: blocks prepared already, by id; the directions of one contrast share theirs.

    Raises:
        ValueError: for embeddings of different width, a temperature of the wrong shape, or (on the CPU, where asking does
            not make the host wait) non-finite embeddings and temperatures <= 0.
    """
    similarity = Cosine() if contrast.similarity is None else contrast.similarity
    temperature: Temperature = 1.0 if contrast.temperature is None else contrast.temperature
    anchors = contrast.anchors
    if isinstance(temperature, Tensor):
        _check(temperature, contrast)
        if temperature.dim() == 1:
            anchors, temperature = anchors.attach(temperature=temperature), "temperature"
    for block in (anchors, *contrast.candidates):
        if id(block) not in done:
            done[id(block)] = _prepared(block, contrast, similarity)
    return contrast.replace(
        anchors=done[id(anchors)],
        candidates=tuple(done[id(b)] for b in contrast.candidates),
        target=Paired() if contrast.target is None else contrast.target,
        similarity=similarity,
        temperature=temperature,
    )


def _check(temperature: Tensor, contrast: Contrast) -> None:
    n = contrast.anchors.rows
    if temperature.dim() > 1 or (temperature.dim() == 1 and temperature.shape[0] != n):
        raise ValueError(
            f"The temperature of {contrast.name!r} has shape {list(temperature.shape)}: give one number, [{n}] (one an "
            "anchor), or a function of a tile."
        )
    if temperature.device.type == "cpu" and not bool((temperature.detach() > 0).all()):
        worst = float(temperature.detach().min())
        raise ValueError(f"The temperature of {contrast.name!r} is {worst}: must be > 0.")


def _prepared(block: Candidates, contrast: Contrast, similarity: Similarity) -> Candidates:
    """The block through the similarity's ``prepare``."""
    a, b = contrast.anchors.first, block.first
    if similarity.is_product and b.shape[-1] != a.shape[-1]:
        raise ValueError(
            f"Block {block.name!r} of {contrast.name!r} has width {b.shape[-1]}, the anchors have {a.shape[-1]}: "
            "encoder, head and queue must agree."
        )
    # Prepared blocks (a queue) were checked when they came. On other devices the check would make the host wait in
    # every step; the loss is checked when it is logged.
    if not block.prepared and b.device.type == "cpu" and len(bad := bad_rows(b)):
        index = block.payload.get("index")
        whose = f", index {first_of(index[bad])}" if index is not None and index.dim() == 1 else ""
        raise NonFiniteError(
            f"Block {block.name!r} of {contrast.name!r} holds non-finite embeddings ({len(bad)} of {b.shape[0]} rows{whose}): "
            "lower the learning rate, clip gradients, or check the inputs."
        )
    z = block.z if block.prepared else similarity.prepare(block.z)
    first = z[0] if isinstance(z, tuple) else z
    # The anchors decide, but at least float32. Products take a queue as it is stored, widened tile by tile.
    dtype = wide(a)
    if first.dtype != dtype and not (similarity.is_product and first.dtype.itemsize < dtype.itemsize):
        z = (first.to(dtype), *z[1:]) if isinstance(z, tuple) else first.to(dtype)
    return block.replace(z=z, prepared=True)
