"""The retriever's two losses, the ranker's, and who is trained by which (ar2)."""

import math

import pytest
import torch

from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.modules import AlternatingModule
from lightning_contrast.objectives import RetrieverRanker
from lightning_contrast.objectives.retriever_ranker import retriever_term
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one
from tests.modules.test_contrastive import linear

ALL = torch.ones(1, 3, dtype=torch.bool)
FIRST = torch.tensor([[1.0, 0.0, 0.0]])
R, S = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.5, 0.0]])


def test_worked_numbers():
    assert S.softmax(1)[0].tolist() == pytest.approx([0.50648, 0.30720, 0.18632], abs=1e-5)
    assert retriever_term("adversarial", S, R, FIRST, ALL).item() == pytest.approx(1.05453, abs=1e-5)


def test_distillation_is_lowest_at_the_rankers_distribution():
    best = retriever_term("distilled", R / 2, R, FIRST, ALL, temperature=2.0)
    entropy = -(((R / 2).softmax(1)) * (R / 2).log_softmax(1)).sum()
    assert best.item() == pytest.approx(entropy.item(), abs=1e-6)
    assert retriever_term("distilled", R / 2 + torch.tensor([0.1, 0, 0]), R, FIRST, ALL, 2.0) > best


def test_what_does_not_exist_does_not_count():
    there = torch.tensor([[True, True, True, False]])
    wide = [torch.cat([x, torch.full((1, 1), 50.0)], 1) for x in (S, R)]
    target = torch.cat([FIRST, torch.zeros(1, 1)], 1)
    for which in ("adversarial", "distilled"):
        found = retriever_term(which, *wide, target, there)
        torch.testing.assert_close(found, retriever_term(which, S, R, FIRST, ALL))


def objective(share=0.3):
    torch.manual_seed(0)
    return RetrieverRanker(4, adversarial=share, ranker_temperature=2.0, hidden=5, temperature=0.5).double()


def lists(n=3, h=2):
    g = torch.Generator().manual_seed(1)
    z = torch.randn(2, n, 4, generator=g, dtype=torch.float64).requires_grad_()
    mined = torch.randn(n, h, 4, generator=g, dtype=torch.float64)
    c = Contrast.from_pairs(z[0], z[1], in_batch=False).append(Candidates(mined, name="mined", where="private"))
    return z, mined, c


def test_beside_a_loop():
    model = objective()
    z, mined, c = lists()
    z = z.detach()
    total, ranker = 0.0, 0.0
    for i in range(3):
        documents = [z[1, i], *mined[i]]
        unit = [d / d.norm() for d in documents]
        q = z[0, i] / z[0, i].norm()
        s = [float(q @ d) / 0.5 for d in unit]
        r = [model.opponent.layers(torch.cat([q, d, (q - d).abs(), q * d])).item() for d in unit]
        log_p = [x - math.log(math.fsum(map(math.exp, s))) for x in s]
        adversarial = math.fsum(-math.log1p(math.exp(x - r[0])) * p for x, p in zip(r, log_p, strict=True))
        soft = [math.exp(x / 2) / math.fsum(math.exp(y / 2) for y in r) for x in r]
        distilled = -math.fsum(t * p for t, p in zip(soft, log_p, strict=True))
        total += (0.3 * adversarial + 0.7 * distilled) / 3
        ranker += (math.log(math.fsum(map(math.exp, r))) - r[0]) / 3
    assert model(c).item() == pytest.approx(total, rel=1e-9)
    ready = model.prepare(c).replace(similarity=Cosine())
    assert model.opponent_loss(ready).item() == pytest.approx(ranker, rel=1e-9)


def test_neither_trains_the_other():
    model = objective()
    z, _, c = lists()
    model(c).backward()
    assert z.grad.abs().sum() > 0
    assert all(p.grad is None or not p.grad.any() for p in model.opponent.parameters())
    z.grad = None
    model.opponent_loss(model.prepare(c).map_own(lambda b: b.detach())).backward()
    assert z.grad is None
    assert all(p.grad.any() for p in model.opponent.layers[::2].parameters() if p.dim() > 1)


def test_gradcheck():
    model = objective(0.0)  # the ranker's part is a constant
    z, mined, _ = lists()
    q, d = z.detach().clone()

    def f(x):
        s = torch.cat([(x * d).sum(1, keepdim=True), torch.einsum("nd,nhd->nh", x, mined)], 1)
        r = torch.arange(9.0, dtype=torch.float64).view(3, 3).sin()
        there = torch.ones(3, 3, dtype=torch.bool)
        return [
            retriever_term(which, s, r, FIRST.double().expand(3, 3), there) for which in ("adversarial", "distilled")
        ]

    assert torch.autograd.gradcheck(f, q.requires_grad_())
    assert model.adversarial == 0.0


def module():
    torch.manual_seed(0)
    given = {
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.05),
        "opponent_optimizer": lambda p: torch.optim.SGD(p, 0.05),
    }
    return AlternatingModule(linear(), RetrieverRanker(16, hidden=8, temperature=0.5), **given)


PAIRS = ("anchor", "positive")


def test_two_processes_and_resume(tmp_path):
    assert_two_processes_train_as_one(tmp_path, module, list, steps=3, keys=PAIRS)
    assert_resumes_exactly(tmp_path, module, list)


def test_refused():
    for wrong in ({"adversarial": 1.5}, {"ranker_temperature": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            RetrieverRanker(4, **wrong)
