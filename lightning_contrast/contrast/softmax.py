"""The fast path of softmax objectives: ``logsumexp - target_sum / target_mass`` without a matrix of scores.

The log-sum-exps go to the kernels of ``functional`` (gradients with the value, O(tile) memory). Positives never need a
matrix: partners are a row product, equal labels a class sum. What does not fit is left to the generic tiles, with the
same result.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.contrast import Contrast
from lightning_contrast.contrast.direction import Direction, why_not
from lightning_contrast.contrast.narrow import narrow_products, own_rows, partners_apart
from lightning_contrast.contrast.pair import Pair
from lightning_contrast.contrast.payload_only import PayloadPair, Tile, part
from lightning_contrast.contrast.scores import Scores
from lightning_contrast.contrast.target import Labelled, Paired
from lightning_contrast.functional.exclusion import Exclusion
from lightning_contrast.functional.row_lse import row_lse
from lightning_contrast.functional.self_lse import self_lse
from lightning_contrast.functional.soft_lse import soft_lse
from lightning_contrast.functional.symmetric_lse import symmetric_lse


def softmax_sum(d: Direction) -> tuple[Tensor, Tensor]:
    """Sum of ``logsumexp - target_sum / target_mass`` over the anchors that have a positive, and their number."""
    c = d.whole
    if not isinstance(c.target, (Paired, Labelled)) or any(r.kind == "exclude" for r in c.rules):
        return _soft(d)
    scale, bound = _scale(c)
    logits, private_sum, private_mass = _private(d)
    partners, mass = _target(d, scale)
    dtype, exclude = narrow_products(d, bound), [_exclusion(d, b) for b in d.shared]
    apart = partners_apart(d, partners, mass) if dtype is not None and c.candidates[0].where != "private" else None
    weighted = partners
    if logits is not None:
        weighted = partners + private_sum
        mass = (torch.ones_like(weighted) if mass is None else mass) + private_mass
    if apart is not None:
        column, exclude[0] = apart
        logits = column if logits is None else torch.cat([column, logits], dim=1)
    elif c.candidates[0].where != "private":
        dtype = None
    positive, weight = _mean(weighted, mass)
    anchors = c.anchors.first
    bias = None if not c.rules else lambda block, rows, columns: _log_weight(c, d.shared[block], rows, columns)
    alone = c.candidates[0] is c.anchors and len(c.candidates) == 1 and not c.rules
    how: dict[str, Any] = {"scale": scale, "logits": logits, "bound": bound, "dtype": dtype or _wide(anchors)}
    if alone and (scale is None or scale.dim() == 0):
        total, lse = self_lse(anchors, weight, exclude=exclude[0], **how)
    else:
        total, lse = row_lse(anchors, [b.first for b in d.shared], weight, exclude=exclude, bias=bias, **how)
    if c.rules:  # log-weights may leave an anchor nothing
        weight = weight.masked_fill(lse.detach() == -torch.inf, 0.0)
        positive = positive * weight
    return total - positive.sum(), weight.count_nonzero()


DIRECT_ENTRIES = 2**18
"""Up to this many scores plain autograd needs fewer operators than a kernel."""


def direct_sum(d: Direction) -> tuple[Tensor, Tensor] | None:
    """As :func:`softmax_sum` for few plain pairs: PyTorch's own cross-entropy of one small matrix; ``None`` for others."""
    c = d.whole
    block, n = c.candidates[0], c.anchors.rows
    plain = len(c.candidates) == 1 and not c.rules and block.where == "batch" and type(c.target) is Paired
    if not plain or d.local.is_self or block.rows != n or n * n > DIRECT_ENTRIES or not _in_order(d):
        return None
    if "index" in block.payload and "index" in c.anchors.payload:
        return None
    a, scale = c.anchors.first, _scale(c)[0]
    if scale is not None:
        a = a * (scale[:, None] if scale.dim() else scale)
    own = torch.arange(n, device=a.device)
    return cross_entropy(a @ block.first.mT.to(a.dtype), own, reduction="sum"), torch.tensor(n, device=a.device)


def _in_order(d: Direction) -> bool:
    """Whether row i of the candidates is the partner of row i of the anchors; the constructor gives both one tensor."""
    one, two = d.local.anchors.get("position"), d.local.candidates[0].get("position")
    return one is two or torch.equal(one, two)


def both_directions(one: Direction, two: Direction) -> list[tuple[Tensor, Tensor]] | None:
    """Both directions of pairs from one matrix, where the second is the reverse of the first on one process."""
    a, b = one.whole, two.whole
    same = a.anchors.z is b.candidates[0].z and b.anchors.z is a.candidates[0].z
    plain = all(len(c.candidates) == 1 and not c.rules and isinstance(c.target, Paired) for c in (a, b))
    if not same or not plain or a.temperature is not b.temperature or isinstance(a.temperature, str):
        return None
    if why_not(two) is not None:
        return None
    scale, bound = _scale(a)
    targets = [_target(d, scale) for d in (one, two)]
    positives, present = zip(*(_mean(*t) for t in targets), strict=True)
    exclude, dtype = _exclusion(one, a.candidates[0]), narrow_products(one, bound)
    apart = None
    if dtype is not None and all(mass is None for _, mass in targets):
        apart = partners_apart(one, *targets[0])
    column: Tensor | None = None
    if apart is None:
        dtype = _wide(a.anchors.first)
    else:
        column, exclude = apart
    counts = [w.count_nonzero() for w in present]
    # Every direction is divided by its own count later: scale the second so that one division serves both.
    ratio = counts[0] / counts[1].clamp(min=1)
    weights = [w * f for w, f in zip(present, (1.0, ratio), strict=True)]
    total, rows, columns = symmetric_lse(
        a.anchors.first, b.anchors.first, *weights, scale=scale, row_logits=column, column_logits=column,
        exclude=exclude, bound=bound, dtype=dtype,
    )  # fmt: skip
    taken = [p.sum() for p in positives]
    mine, theirs = (
        (v.detach() * w).nan_to_num(neginf=0.0).sum() for v, w in zip((rows, columns), present, strict=True)
    )
    # One sum carries the gradient of both directions; each shows its own value.
    return [(total + (mine - total.detach()) - taken[0], counts[0]), (theirs - taken[1], counts[1])]


def _scale(c: Contrast) -> tuple[Tensor | None, float | None]:
    """``1 / temperature`` as a tensor, and a bound of the logits where it is known without waiting for a device."""
    t, a = c.temperature, c.anchors.first
    wide = torch.float64 if a.dtype == torch.float64 else torch.float32
    limit = c.similarity.bound if c.similarity is not None else None
    if isinstance(t, str):
        t = c.anchors.get(t)
    if isinstance(t, Tensor):
        on_host = limit is not None and t.device.type == "cpu"
        return 1 / t.to(wide), limit / float(t.detach().min()) if on_host and limit is not None else None
    assert isinstance(t, (int, float))
    return torch.tensor(1 / t, dtype=wide, device=a.device), None if limit is None else limit / t


def _exclusion(d: Direction, block: Candidates) -> Exclusion | None:
    """An anchor itself, and the same sample elsewhere unless the target wants it: ``same_item`` by ids."""
    c = d.whole
    diagonal = None
    if d.local.is_self and block is c.candidates[0]:
        diagonal = own_rows(d)
    ids = [b.payload.get("index") for b in (c.anchors, block)]
    if ids[0] is None or ids[1] is None:
        return None if diagonal is None else Exclusion(diagonal=diagonal)
    keys = [_kept_by(c, b) for b in (c.anchors, block)]
    return Exclusion(diagonal=diagonal, same=(ids[0], ids[1]), unless=(keys[0], keys[1]))


def _kept_by(c: Contrast, block: Candidates) -> Tensor:
    """Rows of one sample with the same key stay pairs: partners by position, positives by label."""
    position = block.get("position")
    if not isinstance(c.target, Labelled):
        return position
    label = block.get(c.target.key).to(torch.int64)
    return torch.where(label >= 0, label, torch.where(position >= 0, position + 2**40, position))


def _mean(weighted: Tensor, mass: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean logit of the positives of each anchor, 0 where there are none; and 1 where there are some, else 0."""
    if mass is None:
        return weighted, torch.ones_like(weighted)
    valid = mass > 0
    return (weighted / mass.clamp(min=1)).where(valid, 0.0), valid.to(weighted.dtype)


def _target(d: Direction, scale: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Target-weighted sum of logits and the mass of the target over shared blocks, ``[n]`` each; no mass: all 1."""
    c = d.whole
    a = c.anchors.first
    if isinstance(c.target, Labelled):
        key, blocks = c.target.key, d.shared
        rows = [b.get(key) for b in (c.anchors, *blocks)]
        sources = [b.first for b in blocks]
    elif d.local.candidates[0].where == "private":
        return a.new_zeros(a.shape[0], dtype=_wide(a)), a.new_zeros(a.shape[0], dtype=_wide(a))
    else:
        blocks = [d.local.candidates[0]]
        rows = [d.local.anchors.get("position"), blocks[0].get("position")]
        sources = [blocks[0].first]
        if not d.local.is_self and _in_order(d):
            return _dot(a, sources[0], scale), None
    known, group = torch.unique(torch.cat(rows), return_inverse=True)
    mine, theirs = group[: a.shape[0]], group[a.shape[0] :]
    real = (torch.cat(rows[1:]) >= 0).to(_wide(a))
    z = torch.cat(sources).to(_wide(a)) * real[:, None]
    sums = z.new_zeros(known.shape[0], z.shape[1]).index_add(0, theirs, z)[mine]
    mass = real.new_zeros(known.shape[0]).index_add(0, theirs, real)[mine]
    if d.local.is_self:
        own = (rows[0] >= 0).to(_wide(a))
        sums, mass = sums - a.to(_wide(a)) * own[:, None], mass - own
    return _dot(a, sums, scale), mass


def _wide(z: Tensor) -> torch.dtype:
    return torch.float64 if z.dtype == torch.float64 else torch.float32


def _dot(a: Tensor, b: Tensor, scale: Tensor | None) -> Tensor:
    dots = (a.to(_wide(a)) * b.to(_wide(a))).sum(1)
    return dots if scale is None else dots * scale


def _private(d: Direction) -> tuple[Tensor | None, Tensor | float, Tensor | float]:
    """Logits of the private blocks, ``[n, H]``, and what their positives add; they are few, so they are built."""
    if not d.private:
        return None, 0.0, 0.0
    scores = Scores(d.whole.replace(candidates=d.private))
    logits = scores.logit if scores.log_weight is None else scores.logit + scores.log_weight
    return logits.masked_fill(~scores.exists, -torch.inf), scores.target_sum(), scores.target_mass()


def _tile(c: Contrast, block: Candidates, rows: Tile, columns: Tile) -> Pair:
    narrow = c.replace(anchors=part(c.anchors, rows), candidates=())
    return PayloadPair(narrow, part(block, columns))


def _log_weight(c: Contrast, block: Candidates, rows: Tile, columns: Tile) -> Tensor | None:
    pair = _tile(c, block, rows, columns)
    parts = [pair.apply(r) for r in c.rules if r.kind == "log_weight" and r.applies_to(block.name)]
    return sum(parts[1:], parts[0]) if parts else None


def _soft(d: Direction) -> tuple[Tensor, Tensor]:
    """Any target that is a function of the payload, and exclusions, over one shared block."""
    c, block = d.whole, d.shared[0]
    wide = _wide(c.anchors.first)

    @lru_cache(maxsize=1)  # target and log-weights are asked for the same tile, one after the other
    def tile(rows: Tile, columns: Tile) -> Scores:
        return Scores(c.replace(anchors=part(c.anchors, rows), candidates=(part(block, columns),)))

    def target(rows: Tile, columns: Tile) -> Tensor:
        scores = tile(rows, columns)
        return (scores.read(lambda pair: pair.target) * scores.exists).to(wide)

    def bias(rows: Tile, columns: Tile) -> Tensor:
        exists, weight = tile(rows, columns).exists, _log_weight(c, block, rows, columns)
        base = torch.zeros(exists.shape, dtype=wide, device=exists.device) if weight is None else weight.to(wide)
        return base.masked_fill(~exists, -torch.inf)

    scale, _ = _scale(c)
    mass = _by_tiles(c.anchors.rows, block.rows, lambda r, k: target(r, k).sum(1), c.anchors.first, wide)
    valid = mass > 0
    weight = valid.to(wide) / mass.where(valid, 1.0)
    total, rows = soft_lse(c.anchors.first, block.first, target, weight, scale=scale, bias=bias, dtype=wide)
    return total, (valid & (rows.detach() > -torch.inf)).sum()


def _by_tiles(n: int, m: int, f: Callable[[Tile, Tile], Tensor], like: Tensor, dtype: torch.dtype) -> Tensor:
    out = torch.zeros(n, dtype=dtype, device=like.device)
    step = max(1, 2**20 // max(1, m))
    for start in range(0, n, step):
        rows = (start, min(start + step, n))
        out[slice(*rows)] = f(rows, (0, m))
    return out
