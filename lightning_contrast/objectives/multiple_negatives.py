"""InfoNCE of pairs under sentence-transformers' name: in up to four directions, in one softmax or one each."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.contrast.similarity import Cosine, Dot
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.temperatures import TemperatureModule

Way = Literal["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"]
Partition = Literal["joint", "per_direction"]


class MultipleNegativesRanking(InfoNCE):
    """``log Z_i - s(q_i, d_i) / T``, with ``log Z_i`` over what the chosen directions compare (MultipleNegativesRankingLoss).

    ``query_to_doc``: q_i with all documents, hard negatives included; ``doc_to_query``: d_i with all queries;
    ``query_to_query``: q_i with the other queries; ``doc_to_doc``: d_i with the documents of other queries. ``joint``: one
    softmax over all of them (all four: GTE, Li et al. 2023, eq. 2); ``per_direction``: the mean over a softmax each (with
    ``doc_to_query``: CLIP's loss). Rows of equal ``index``, and what a FalseNegativeFilter finds, are left out of all.

    Args:
        temperature: a number > 0 or a temperature module; 0.05 is ``scale=20`` there.
        directions: with ``query_to_doc`` among them.
        partition_mode: ``joint``, or ``per_direction`` for ``query_to_doc`` and ``doc_to_query`` alone, whose candidates
            hold the positive.

    Raises:
        ValueError: for other directions; in use for views, or where candidates belong to one anchor each.

    Example:
        >>> eye = torch.eye(2)
        >>> loss = MultipleNegativesRanking(1.0, ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"))
        >>> round(loss(Contrast.from_pairs(eye, eye)).item(), 5)  # log(2 e + 4) - 1
        1.24497
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        directions: Sequence[Way] = ("query_to_doc",),
        partition_mode: Partition = "joint",
    ) -> None:
        found = tuple(directions)
        if "query_to_doc" not in found or not set(found) <= set(get_args(Way)) or len(set(found)) < len(found):
            raise ValueError(
                f"directions={found}: query_to_doc and perhaps others of {', '.join(get_args(Way))}, each once."
            )
        if partition_mode not in get_args(Partition):
            raise ValueError(f"partition_mode={partition_mode!r}: must be joint or per_direction.")
        if partition_mode == "per_direction" and set(found) & {"query_to_query", "doc_to_doc"}:
            raise ValueError(
                "partition_mode='per_direction': query_to_query and doc_to_doc hold no positive to pick; use 'joint'."
            )
        each = partition_mode == "per_direction" and "doc_to_query" in found
        super().__init__(temperature, symmetric=each)
        self.ways, self.partition_mode = found, partition_mode

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """One joint contrast each, or one a direction."""
        if self.symmetric or len(self.ways) == 1:
            return super().directions(contrast)
        given = [contrast] if isinstance(contrast, Contrast) else contrast
        return tuple(self._joint(self.prepare(one)) for one in given)

    def _joint(self, contrast: Contrast) -> Contrast:
        """Anchors ``(q_i, d_i)``; a candidate is ``(x, 0)`` where q_i is compared with x, and ``(0, x)`` where d_i is."""
        anchors, (documents, *rest) = contrast.anchors, contrast.candidates
        if contrast.is_self or documents.where != "batch":
            raise ValueError(
                f"directions={self.ways} of {contrast.name!r}: they need queries and documents that serve the whole batch; views, "
                "and in_batch=False, have query_to_doc alone."
            )
        if contrast.similarity is not None and not isinstance(contrast.similarity, Cosine):
            raise ValueError(f"directions={self.ways} compare by cosine, not {type(contrast.similarity).__name__}.")
        q, d = _unit(anchors.z), _unit(documents.z)
        position, view = anchors.get("position"), anchors.get("view")
        blocks = [documents.replace(z=_first(d))]
        blocks += [block.replace(z=_first(_unit(block.z))) for block in rest]
        if "doc_to_query" in self.ways:  # d_i with q_i is the positive once more, of the same value
            blocks.append(anchors.replace(z=_second(q), name="doc_to_query").attach(view=torch.full_like(view, 2)))
        if "query_to_query" in self.ways:  # an anchor's own view: left out
            blocks.append(anchors.replace(z=_first(q), name="query_to_query"))
        if "doc_to_doc" in self.ways:
            blocks.append(documents.replace(z=_second(d), name="doc_to_doc").attach(view=view))
            blocks += [_others(block, position) for block in rest if block.where == "batch"]
        both = anchors.replace(z=torch.cat([q, d], 1))
        return contrast.replace(anchors=both, candidates=tuple(blocks), similarity=Dot())


def _others(block: Candidates, position: Tensor) -> Candidates:
    """Hard negatives as candidates of documents: of other queries only."""
    count, n = block.rows, len(position)
    if count % n:
        raise ValueError(
            f"doc_to_doc: block {block.name!r} has {count} rows for {n} queries; every query needs as many."
        )
    own = position.repeat_interleave(count // n)
    made = block.replace(z=_second(_unit(block.z)), name=f"doc_to_doc {block.name}")
    return made.attach(position=own, view=torch.zeros_like(own))


def _first(x: Tensor) -> Tensor:
    return F.pad(x, (0, x.shape[-1]))


def _second(x: Tensor) -> Tensor:
    return F.pad(x, (x.shape[-1], 0))


def _unit(z: Tensor | tuple[Tensor, ...]) -> Tensor:
    if not isinstance(z, Tensor):
        raise ValueError("directions: embeddings must be one vector a text.")
    return F.normalize(z, dim=-1)
