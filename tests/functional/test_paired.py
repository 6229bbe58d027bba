"""Paired differences: against a plain loop, and in cases that are known."""

import pytest
import torch

from lightning_contrast.functional.paired import paired_difference


def test_a_plain_loop():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(200, generator=generator), torch.rand(200, generator=generator)
    found = paired_difference(a, b, resamples=4000)
    d = (b - a).double()
    draws = torch.stack([d[torch.randint(200, (200,), generator=generator)].mean() for _ in range(4000)])
    assert found.mean == pytest.approx(float(d.mean()))
    low, high = draws.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)
    assert found.over == "items"


def test_what_is_hard_for_both_cancels():
    hard = torch.randn(50) * 100
    found = paired_difference(hard, hard + 1)
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(1)


def test_seeds_widen_the_interval_as_they_vary():
    """Items all alike: what varies is the seed alone, whose standard error is known."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 8, 1, generator=generator).expand(2, 8, 30)
    found = paired_difference(a, b, resamples=4000)
    assert found.over == "items and seeds"
    error = float((a[:, 0].var() / 8 + b[:, 0].var() / 8) ** 0.5)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.08)
    assert found.mean == pytest.approx(float(b.mean() - a.mean()))


def test_one_seed_of_one_is_no_sample_of_seeds():
    assert paired_difference(torch.rand(3, 9), torch.rand(9)).over == "items"


def test_the_draws_are_seeded():
    a, b = torch.rand(40), torch.rand(40)
    assert paired_difference(a, b) == paired_difference(a, b)
    assert paired_difference(a, b).low != paired_difference(a, b, seed=1).low


@pytest.mark.parametrize(
    ("a", "b", "more", "message"),
    [
        (torch.rand(3), torch.rand(4), {}, "the same items"),
        (torch.rand(0), torch.rand(0), {}, "the same items"),
        (torch.tensor([1.0, torch.nan]), torch.rand(2), {}, "must be finite"),
        (torch.rand(3), torch.rand(3), {"level": 1.0}, "level=1.0"),
        (torch.rand(3), torch.rand(3), {"resamples": 3}, "resamples=3"),
    ],
)
def test_misuse(a, b, more, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b, **more)
