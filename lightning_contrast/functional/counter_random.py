"""Random numbers that are a function of what they are for, not of what was drawn before.

A *counter-based* generator hashes (seed, epoch, index, view, number) to a uniform number. Nothing is held, so
a run that resumes, a data set split over processes, or a batch in another order draws the same numbers for
the same sample. The hash is SplitMix64's finaliser (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014).
"""

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def signed(value: int) -> int:
    """The int64 with the same 64 bits: torch has no uint64 arithmetic."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def hash_integers(*values: int) -> int:
    """Hash integers to one integer in [0, 2**63): a seed for any generator.

    The order counts: ``hash_integers(1, 2) != hash_integers(2, 1)``.
    """
    state = 0
    for value in values:
        state = (state + value + GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _MIX_1) & _MASK
        state = ((state ^ (state >> 27)) * _MIX_2) & _MASK
        state ^= state >> 31
    return state >> 1


def finalise(state: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64 bits; `>>` on int64 keeps the sign, hence the masks."""
    state = (state ^ ((state >> 30) & (_MASK >> 30))) * signed(_MIX_1)
    state = (state ^ ((state >> 27) & (_MASK >> 27))) * signed(_MIX_2)
    return state ^ ((state >> 31) & (_MASK >> 31))


def counter_uniform(index: Tensor, count: int, *, seed: int = 0, epoch: int = 0, view: int = 0) -> Tensor:
    """Uniform numbers of each sample, a pure function of (seed, epoch, index, view, column).

    Args:
        index: Sample indices, int64 ``[N]``, on any device.
        count: How many numbers a sample needs, P >= 1.
        seed: The run's seed.
        epoch: The epoch, so that every epoch draws anew.
        view: The view's number, so that views differ.

    Returns:
        float32 ``[N, P]`` in [0, 1), multiples of 2**-24, on the index's device.

    Raises:
        ValueError: If `index` is not an int64 vector or `count` < 1.
    """
    if index.dtype != torch.int64 or index.dim() != 1:
        raise ValueError(f"index must be int64 [N], got {index.dtype} {list(index.shape)}")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    key = signed(hash_integers(seed, epoch, view) * 2 + 1)
    # two rounds: neighbouring indices and neighbouring columns must share nothing
    row = finalise(index * signed(GOLDEN) + key)
    column = torch.arange(1, count + 1, device=index.device, dtype=torch.int64) * signed(GOLDEN)
    bits = finalise(row[:, None] + column)
    return ((bits >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def counter_uniform_pairs(row: Tensor, column: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Uniform numbers of each pair, a pure function of (seed, row's number, column's number, which of the count).

    Args:
        row: Number of each row, int64 ``[N]``.
        column: Number of each column, int64 ``[1, M]``, or of each of a row's own, ``[N, M]``.
        count: How many numbers a pair needs, P >= 1.
        seed: Of all.

    Returns:
        float32 ``[P, N, M]`` in [0, 1), multiples of 2**-24.
    """
    key = signed(hash_integers(seed, 1) * 2 + 1)  # not the numbers of counter_uniform
    pair = finalise(finalise(row * signed(GOLDEN) + key)[:, None] + finalise(column * signed(GOLDEN) - key))
    which = torch.arange(1, count + 1, device=row.device, dtype=torch.int64) * signed(GOLDEN)
    bits = finalise(pair + which[:, None, None])
    return ((bits >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24
