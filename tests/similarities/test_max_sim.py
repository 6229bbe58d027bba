"""Lee et al. 2022 (CLRCMD), Khattab and Zaharia 2020 (ColBERT)."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.similarities import MaxSim
from tests.ranks import run_ranks


def texts(seed, n=4, length=5):
    g = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(1, length + 1, (n, 1), generator=g)
    return torch.randn(n, length, 3, generator=g, dtype=torch.float64), mask


def looped(a, b, both_ways):
    def best(x, y):
        return sum(max(float(cosine_similarity(u, v, dim=0)) for v in y) for u in x) / len(x)

    out = [[(x[p], y[q]) for y, q in zip(*b, strict=True)] for x, p in zip(*a, strict=True)]
    return torch.tensor(
        [[(best(x, y) + best(y, x)) / 2 if both_ways else best(x, y) for x, y in row] for row in out]
    ).double()


def scored(a, b, **how):
    return Contrast.from_pairs(a, b).replace(similarity=MaxSim(**how)).scores().similarity


@pytest.mark.parametrize("both_ways", [True, False])
def test_value_of_a_double_loop(both_ways):
    a, b = texts(0), texts(1)
    torch.testing.assert_close(scored(a, b, both_ways=both_ways), looped(a, b, both_ways), rtol=1e-6, atol=1e-6)
    private = Contrast.from_pairs(a, b, in_batch=False).replace(similarity=MaxSim(both_ways)).scores().similarity
    torch.testing.assert_close(private[:, 0], scored(a, b, both_ways=both_ways).diagonal())


def test_same_text_one_token_and_padding():
    a, b = texts(0), texts(1)
    torch.testing.assert_close(scored(a, a).diagonal(), torch.ones(4).double())
    torch.testing.assert_close(scored(a, b), scored(b, a).mT)
    longer = (torch.cat([b[0], torch.full((4, 2, 3), 7.0).double()], 1), torch.cat([b[1], torch.zeros(4, 2).bool()], 1))
    torch.testing.assert_close(scored(a, longer), scored(a, b))
    nothing = (a[0], torch.zeros_like(a[1]))
    assert scored(nothing, b).eq(0).all()
    with pytest.raises(TypeError, match="tuples"):
        scored(a[0][:, 0], b[0][:, 0])


def loss_of(rows, exchange):
    (x, p), (y, q) = texts(0), texts(1)
    x = x[rows].clone().requires_grad_()
    c = Contrast.from_pairs((x, p[rows]), (y[rows], q[rows])).replace(exchange=exchange)
    loss = InfoNCE(0.5, MaxSim())(c)
    loss.backward()
    return loss.detach(), x.grad


def on_rank(rank, world):
    return loss_of(slice(0, 1) if rank == 0 else slice(1, 4), "gather")


def test_two_processes_are_one():
    loss, grad = loss_of(slice(0, 4), "none")
    shares = run_ranks(2, on_rank)
    torch.testing.assert_close(sum(s[0] for s in shares) / 2, loss)
    torch.testing.assert_close(torch.cat([s[1] for s in shares]) / 2, grad)


def test_gradcheck():
    (x, p), b = texts(0), texts(1)
    loss = lambda x: InfoNCE(0.5, MaxSim())(Contrast.from_pairs((x, p), b))  # noqa: E731
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(),), nondet_tol=1e-10)
