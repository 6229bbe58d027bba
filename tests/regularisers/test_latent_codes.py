"""C3-GAN's clustering terms."""

import math

import pytest
import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.regularisers import LatentCodes
from tests.objectives.plain import cosine, lse, mean, softmax
from tests.ranks import run_ranks

Z = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CODE = torch.tensor([-1, 2, -1, 0, 1, -1, -1])


def made(**kwargs) -> LatentCodes:
    torch.manual_seed(1)
    return LatentCodes(codes=3, dim=4, **kwargs).double()


def entropy(p: list[float]) -> float:
    return -math.fsum(x * math.log(x) for x in p)


def test_double_loop() -> None:
    term = made(information=2.0, entropy=0.3, temperature=0.5)
    rows = [(z, int(c)) for view in Z for z, c in zip(view, CODE, strict=True)]
    logits = [([cosine(z, c) / 0.5 for c in term.codes.detach()], y) for z, y in rows]
    information = mean([lse(x) - x[y] for x, y in logits if y >= 0])
    p = [softmax(x) for x, y in logits if y < 0]
    average = [mean(list(column)) for column in zip(*p, strict=True)]
    expected = 2 * information + 0.3 * (mean([entropy(x) for x in p]) - entropy(average))
    assert term(Contrast.from_views(Z, code=CODE)).item() == pytest.approx(expected)


def test_worked_numbers() -> None:
    term = LatentCodes(codes=2, dim=2, information=1.0).double()
    term.codes.data.copy_(torch.eye(2))
    z = torch.eye(2, dtype=torch.float64)[None]
    assert term(Contrast.from_views(z, code=torch.arange(2))).item() == pytest.approx(math.log1p(math.exp(-10)))
    even = torch.ones(1, 5, 2, dtype=torch.float64)
    assert term(Contrast.from_views(even)).item() == pytest.approx(0, abs=1e-12), "uniform predictions cancel"
    assert term(Contrast.from_views(z)).item() == pytest.approx(-0.1 * math.log(2), abs=1e-4), (
        "sure, and all codes used"
    )
    assert term.assign(z[0]).tolist() == [0, 1]


def test_gradcheck() -> None:
    term = made(temperature=0.5)
    z = Z.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z, _: term(Contrast.from_views(z, code=CODE)), (z, term.codes))


def share(rows: slice, exchange: str) -> list[Tensor]:
    term, encoder = made(), torch.eye(4, dtype=torch.float64).add(0.1).requires_grad_()
    contrast = Contrast.from_views(Z[:, rows] @ encoder, code=CODE[rows]).replace(exchange=exchange)
    loss = term(contrast)
    loss.backward()
    return [loss.detach(), encoder.grad, term.codes.grad]


def on_rank(rank: int, world: int) -> list[Tensor]:
    return share(slice(0, 3) if rank == 0 else slice(3, 7), "gather")


def test_two_processes_are_one() -> None:
    for expected, *found in zip(share(slice(0, 7), "none"), *run_ranks(2, on_rank), strict=True):
        torch.testing.assert_close(sum(found) / 2, expected)


def test_bad_input() -> None:
    for kwargs in ({"codes": 1}, {"temperature": 0.0}, {"information": -1.0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            LatentCodes(**kwargs)
    with pytest.raises(ValueError, match="the batch has the code 2"):
        LatentCodes(codes=2, dim=4).double()(Contrast.from_views(Z, code=CODE))
    with pytest.raises(ValueError, match="dim=9"):
        LatentCodes(dim=9)(Contrast.from_views(Z))
