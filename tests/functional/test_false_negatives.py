"""Limits of false negatives: by hand, beside plain loops, at their edges."""

import pytest
import torch

from lightning_contrast.functional.false_negatives import (
    absolute_limit,
    check_limits,
    quantile_limit,
    relative_limit,
    skip_limit,
)


def test_margins_by_hand():
    p = torch.tensor([0.8, 0.0, -0.2, torch.inf])
    assert absolute_limit(p, 0.3).tolist() == pytest.approx([0.5, -0.3, -0.5, torch.inf])
    assert relative_limit(p, 0.5).tolist() == pytest.approx([0.4, 0.0, -0.3, torch.inf])


@pytest.mark.parametrize("margin", [0.0, 0.05, 1.0])
def test_a_relative_limit_is_never_above_its_positive(margin):
    p = torch.cat([torch.linspace(-1, 1, 41), torch.tensor([torch.inf])])
    assert (relative_limit(p, margin) <= p).all()  # p * (1 - margin) is above it for p < 0
    assert relative_limit(p, margin)[-1] == torch.inf, "no positive, no limit"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_quantile_beside_a_loop(share):
    torch.manual_seed(0)
    s, negative = torch.randn(7, 30), torch.rand(7, 30) < 0.6
    negative[0] = False
    limit = quantile_limit(s, negative, share)
    for row in range(7):
        kept = s[row][negative[row]]
        assert int((kept > limit[row]).sum()) == int(len(kept) * share)


@pytest.mark.parametrize("skip", [0, 1, 5, 29, 30])
def test_skip_beside_a_loop(skip):
    torch.manual_seed(0)
    s, negative = torch.randn(7, 30), torch.rand(7, 30) < 0.6
    limit = skip_limit(s, negative, skip)
    for row in range(7):
        kept = s[row][negative[row]]
        assert int((kept > limit[row]).sum()) == min(skip, len(kept))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"absolute_margin": -0.1}, "absolute_margin=-0.1"),
        ({"absolute_margin": float("nan")}, "absolute_margin=nan"),
        ({"relative_margin": 1.5}, r"relative_margin=1.5: must lie in \[0, 1\]"),
        ({"max_score": float("nan")}, "max_score=nan"),
        ({"max_score": 0.2, "min_score": 0.2}, "min_score=0.2 must be less than max_score=0.2"),
        ({"quantile": 1.0}, "quantile=1.0"),
    ],
)
def test_bad_values(kwargs, message):
    check_limits()
    with pytest.raises(ValueError, match=message):
        check_limits(**kwargs)
