"""The noun: anchors, blocks of candidates, and what makes the pairs of one direction count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.pair import Kind, Pair, PairFunction, Rule
from lightning_contrast.contrast.similarity import Similarity

if TYPE_CHECKING:
    from lightning_contrast.contrast.scores import Scores

Exchange = Literal["gather", "ring", "none"]
Temperature = float | Tensor | str | Callable[[Pair], Tensor]
Both = Tensor | tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Contrast:
    """One direction of comparison. Immutable: every extension returns another.

    Args:
        anchors: the rows that are scored.
        candidates: the blocks they are scored against; the first is the paired one.
        name: shown in logs and errors, such as ``image->text``.
        target: how much each pair counts as positive, a function of a tile, ``>= 0``; rows need not sum to 1.
            ``None``: the objective decides, :class:`Paired` if it does not.
        similarity: ``None``: the objective decides, cosine if it does not.
        temperature: a number or 0-d tensor > 0; a key of the anchors' payload (``[N]``); a function of a tile.
        rules: pair functions, in the order they were added.
        params: trainable tensors that pair functions close over (modules used as functions are found unaided).
        exchange: how candidates of other ranks are reached; without a process group nothing is exchanged.
    """

    anchors: Candidates
    candidates: tuple[Candidates, ...]
    name: str = "anchor->positive"
    target: Callable[[Pair], Tensor] | None = None
    similarity: Similarity | None = None
    temperature: Temperature | None = None
    rules: tuple[Rule, ...] = ()
    params: tuple[Tensor, ...] = ()
    exchange: Exchange = "gather"

    def __post_init__(self) -> None:
        if self.exchange not in ("gather", "ring", "none"):
            raise ValueError(f"exchange={self.exchange!r}: use 'gather', 'ring' or 'none'.")
        if isinstance(self.temperature, (int, float)) and not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}: must be > 0 (0.05 to 0.5 are usual with cosine).")
        a = self.anchors.first
        for block in self.candidates:
            b = block.first
            if b.device != a.device:
                raise ValueError(
                    f"Block {block.name!r} is on {b.device}, the anchors are on {a.device}: use one device."
                )
            if len(block.leaves) != len(self.anchors.leaves):
                raise ValueError(
                    f"Block {block.name!r} has {len(block.leaves)} tensors, anchors {len(self.anchors.leaves)}."
                )
            if block.where == "private" and (b.shape[0] == 0) != (a.shape[0] == 0):
                raise ValueError(f"Private block {block.name!r} has {b.shape[0]} groups for {a.shape[0]} anchors.")
            if block.where == "private" and b.shape[0] and a.shape[0] % b.shape[0]:
                raise ValueError(
                    f"Private block {block.name!r} has {b.shape[0]} groups, which does not divide {a.shape[0]} anchors."
                )

    # Constructors -------------------------------------------------------------------------------------------------

    @classmethod
    def from_pairs(
        cls,
        anchors: Tensor | tuple[Tensor, ...],
        positives: Tensor | tuple[Tensor, ...],
        *,
        index: Tensor | None = None,
        negatives: Tensor | None = None,
        negative_index: Tensor | None = None,
        in_batch: bool = True,
        name: str = "anchor->positive",
        **payload: Both,
    ) -> "Contrast":
        """Row ``i`` of ``anchors`` belongs to row ``i`` of ``positives``.

        Args:
            anchors: ``[N, D]``.
            positives: ``[N, D]``.
            index: ``[N]`` int64, rows of the data set; rows of equal index are one item and never negatives of each
                other. Without it each row is its own.
            negatives: explicit negatives, ``[N, H, D]`` (each anchor's own) or ``[M, D]`` (everybody's).
            negative_index: their rows in the data set, ``[N, H]`` or ``[M]``.
            in_batch: whether the partners of the other anchors are candidates as well.
            name: of the direction.
            **payload: ``[N, ...]`` tensors known of both sides, or ``(of the anchors, of the positives)``.

        Example:
            >>> import torch
            >>> from lightning_contrast import Contrast
            >>> c = Contrast.from_pairs(torch.eye(2), torch.eye(2), index=torch.tensor([4, 7]))
            >>> c.candidates[0].rows
            2
        """
        one, two = (t[0] if isinstance(t, tuple) else t for t in (anchors, positives))
        if one.shape[0] != two.shape[0]:
            raise ValueError(
                f"from_pairs: {one.shape[0]} anchors but {two.shape[0]} positives; row i belongs to row i."
            )
        n, device = one.shape[0], one.device
        position = torch.arange(n, device=device)
        sides: list[dict[str, Tensor]] = [{"position": position, "view": torch.full_like(position, v)} for v in (0, 1)]
        known: dict[str, Both] = dict(payload)
        if index is not None:
            known["index"] = index
        for key, value in known.items():
            pair = value if isinstance(value, tuple) else (value, value)
            for side, tensor in zip(sides, pair, strict=True):
                side[key] = tensor
        a = Candidates(anchors, sides[0], name="anchor")
        b = Candidates(positives, sides[1], name="positive")
        if not in_batch:
            b = b.map(lambda t: t.unsqueeze(1)).replace(where="private")
        out = cls(a, (b,), name=name)
        if negatives is not None:
            ids = {} if negative_index is None else {"index": negative_index}
            out = out.append(
                Candidates(negatives, ids, name="negative", where="private" if negatives.dim() == 3 else "batch")
            )
        return out

    @classmethod
    def from_views(
        cls,
        z: Tensor,
        *,
        index: Tensor | None = None,
        label: Tensor | None = None,
        name: str = "view->view",
        **payload: Tensor,
    ) -> "Contrast":
        """Every view of every sample is an anchor; all other rows are candidates.

        Args:
            z: ``[V, N, D]``: ``V`` views of ``N`` samples.
            index: ``[N]`` int64, rows of the data set.
            label: ``[N]``.
            name: of the direction.
            **payload: ``[N, ...]`` (equal for all views) tensors.

        Example:
            >>> import torch
            >>> from lightning_contrast import Contrast
            >>> Contrast.from_views(torch.randn(2, 8, 16)).anchors.rows
            16
        """
        if z.dim() != 3:
            raise ValueError(f"from_views: z must be [V, N, D], got {list(z.shape)}; stack the views first.")
        v, n, _ = z.shape
        position = torch.arange(n, device=z.device)
        known = {"position": position, **payload}
        for key, value in (("index", index), ("label", label)):
            if value is not None:
                known[key] = value
        for key, value in known.items():
            if value.shape[0] != n:
                raise ValueError(f"from_views: {key!r} has {value.shape[0]} rows for {n} samples.")
        rows = {key: value.repeat(v, *[1] * (value.dim() - 1)) for key, value in known.items()}
        rows["view"] = torch.arange(v, device=z.device).repeat_interleave(n)
        block = Candidates(z.reshape(v * n, z.shape[-1]), rows, name="view")
        return cls(block, (block,), name=name)

    # Extensions ---------------------------------------------------------------------------------------------------

    def replace(self, **fields: Any) -> "Contrast":
        """A copy with some fields changed (``temperature``, ``similarity``, ``params``, ...)."""
        return replace(self, **fields)

    def append(self, block: Candidates) -> "Contrast":
        """Further candidates: a queue, mined or mixed negatives, prototypes."""
        return replace(self, candidates=(*self.candidates, block))

    def attach(self, block: str, **payload: Tensor) -> "Contrast":
        """Payload for the block of that name (``"anchor"`` for the anchors), before it is exchanged."""
        known = [b.name for b in (self.anchors, *self.candidates)]
        if block not in known:
            raise ValueError(f"attach: no block {block!r}; there are {sorted(set(known))}.")
        changed = {id(b): b.attach(**payload) for b in (self.anchors, *self.candidates) if b.name == block}
        return replace(
            self,
            anchors=changed.get(id(self.anchors), self.anchors),
            candidates=tuple(changed.get(id(b), b) for b in self.candidates),
        )

    def map_own(self, f: Callable[[Candidates], Candidates]) -> "Contrast":
        """``f`` of the anchors and of the first block of candidates, which are one where all views are anchors."""
        anchors, (first, *rest) = f(self.anchors), self.candidates
        return replace(self, anchors=anchors, candidates=(anchors if self.is_self else f(first), *rest))

    def exclude(self, f: PairFunction, on: Sequence[str] | None = None) -> "Contrast":
        """Where ``f`` is true the pair does not exist: not in the numerator, the denominator or the counts."""
        return self._rule("exclude", f, on)

    def add_log_weight(self, f: PairFunction, on: Sequence[str] | None = None) -> "Contrast":
        """``f`` is added to the logit in denominators only; ``-inf`` takes the pair out of them."""
        return self._rule("log_weight", f, on)

    def shift(self, f: PairFunction, on: Sequence[str] | None = None) -> "Contrast":
        """``f`` is added to the logit itself, after the temperature (margin, prior)."""
        return self._rule("shift", f, on)

    def retarget(self, f: Callable[[Pair], Tensor]) -> "Contrast":
        """Another target."""
        return replace(self, target=f)

    def _rule(self, kind: Kind, f: PairFunction, on: Sequence[str] | None) -> "Contrast":
        if isinstance(on, str):
            on = (on,)
        known = {b.name for b in self.candidates}
        if on is not None and not set(on) & known:
            raise ValueError(f"on={tuple(on)} names no block of {self.name!r}; there are {sorted(known)}.")
        return replace(self, rules=(*self.rules, Rule(kind, f, None if on is None else tuple(on))))

    @property
    def is_self(self) -> bool:
        """Whether the anchors are their own first block of candidates (all views against all views)."""
        return bool(self.candidates) and self.candidates[0] is self.anchors

    def reverse(self) -> "Contrast":
        """The other direction. Functions keep speaking of anchor and candidate by role; appended blocks are dropped.

        A rule on the paired block holds for the paired block of the other direction.

        Raises:
            ValueError: if the first block belongs to the anchors (private): it has no direction of its own.
        """
        first = self.candidates[0]
        if first.where == "private":
            raise ValueError(
                f"{self.name!r} cannot be reversed: its positives are private to the anchors (in_batch=False, or a "
                "momentum queue). Use symmetric=False."
            )
        return replace(
            self,
            anchors=first,
            candidates=(self.anchors,),
            name="->".join(reversed(self.name.split("->"))),
            similarity=None if self.similarity is None else self.similarity.transpose(),
            rules=tuple(
                r if r.on is None else replace(r, on=(self.anchors.name,))
                for r in self.rules
                if r.applies_to(first.name)
            ),
        )

    # Reading ------------------------------------------------------------------------------------------------------

    def scores(self) -> "Scores":
        """The matrix anchors x candidates as one tile, after the exchange between ranks."""
        from lightning_contrast.contrast.exchange import world_size
        from lightning_contrast.contrast.ready import ready
        from lightning_contrast.contrast.ring import RingScores
        from lightning_contrast.contrast.scores import Scores

        whole = ready(self)
        return RingScores(whole) if whole.exchange == "ring" and world_size() > 1 else Scores(whole)
