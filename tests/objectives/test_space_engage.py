"""Space Engage: hard rows against prototypes of classes."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.callbacks import PrototypeMemory
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.pseudo_labels import agreeing_labels
from lightning_contrast.objectives import SpaceEngage
from lightning_contrast.temperatures import Learnable
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.objectives.plain import cosine, log_sum_exp, mean
from tests.ranks import run_ranks

LABEL = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def data(n=8, seed=0):
    z = torch.randn(2, n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z, torch.arange(n) * 3, LABEL.repeat(n // 8)


def views(z, index, label, **kwargs):
    return Contrast.from_views(z, index=index, label=label, **kwargs)


def test_worked_number():
    """All negatives orthogonal, the anchor on its prototype, tau 0.5, one negative."""
    c = Contrast.from_pairs(torch.eye(2), torch.eye(2), label=torch.tensor([0, 1]))
    assert SpaceEngage(threshold=2.0, negatives=1)(c).item() == pytest.approx(0.1269, abs=5e-5)
    assert SpaceEngage(threshold=2.0, negatives=7)(c).item() == pytest.approx(math.log(1 + 7 * math.exp(-2)), abs=1e-6)


def test_one_class_is_zero_with_a_graph():
    z, index, _ = data()
    z.requires_grad_()
    loss = SpaceEngage()(views(z, index, torch.zeros(8).long()))
    loss.backward()
    assert loss.item() == 0
    assert not z.grad.any()


def test_is_the_loop():
    """Classes, anchors and the mean by hand; the drawn rows are looked up."""
    z, index, label = data()
    prototype = torch.randn(2, 5, dtype=torch.float64)
    held = Candidates(prototype, {"label": torch.tensor([2, 0])}, name="prototype", where="replicated")
    loss = SpaceEngage(temperature=0.3, threshold=0.4, anchors=2, negatives=3).eval()
    drawn = []
    plain_draw = loss.draw
    loss.draw = lambda *args: drawn.append(plain_draw(*args)) or drawn[-1]
    value = loss(views(z, index, label).append(held))
    rows = [z[v, i] for i in range(8) for v in range(2)]  # by sample, then view
    of = [int(label[i]) for i in range(8) for _ in range(2)]
    own = {0: prototype[1], 2: prototype[0]}
    own[1] = sum(F.normalize(r, dim=0) for r, c in zip(rows, of, strict=True) if c == 1)
    classes, step = [], 0
    for c in range(3):
        hard = [i for i in range(16) if of[i] == c and cosine(rows[i], own[c]) < 0.4]
        if not hard:
            continue
        table = drawn[step]
        step += 1
        assert len(table) == min(2, len(hard))
        assert all(of[j] != c for row in table.tolist() for j in row)
        found = []
        for row in table.tolist():
            losses = []
            for i in hard:
                logits = [cosine(rows[i], own[c]) / 0.3, *(cosine(rows[i], rows[j]) / 0.3 for j in row)]
                losses.append(log_sum_exp(logits) - logits[0])
            found.append(losses)
        classes.append(found)
    # which of the hard rows an anchor is: the one that makes the value; every table row belongs to one of them
    import itertools

    choices = [
        [
            mean([found[k][p] for k, p in enumerate(perm)])
            for perm in itertools.permutations(range(len(found[0])), len(found))
        ]
        for found in classes
    ]
    assert any(math.isclose(mean(list(one)), value.item(), rel_tol=1e-9) for one in itertools.product(*choices))


def test_classes_are_drawn_by_their_similarity():
    prototype = F.normalize(torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.2]]), dim=1)
    label = torch.tensor([0, 1, 2, 2])
    u = torch.rand(2000, 2 * 10, generator=torch.Generator().manual_seed(0))
    drawn = SpaceEngage(negatives=10).draw(prototype, 0, label, torch.arange(3), u, 0.5)
    share = torch.bincount(label[drawn].flatten(), minlength=3) / drawn.numel()
    expected = (prototype[1:] @ prototype[0] / 0.5).softmax(0)
    torch.testing.assert_close(share, torch.tensor([0.0, *expected]), atol=0.01, rtol=0)
    rows = torch.bincount(drawn.flatten(), minlength=4).float()
    assert rows[2] / rows[3] == pytest.approx(1, abs=0.1)


def test_easy_and_unlabelled_rows_are_no_anchors():
    z, index, label = data()
    z.requires_grad_()
    SpaceEngage(threshold=-2.0)(views(z, index, label)).backward()
    assert not z.grad.any(), "nobody is below the threshold"
    z.grad = None
    label = label.clone()
    label[3:5] = -1
    SpaceEngage(threshold=2.0)(views(z, index, label)).backward()
    assert not z.grad[:, 3:5].any()
    assert z.grad[:, :3].any()


def test_prototypes_and_negatives_have_no_gradient():
    z, index, label = data()
    z.requires_grad_()
    held = torch.randn(3, 5).double().requires_grad_()
    block = Candidates(held, {"label": torch.arange(3)}, name="prototype", where="replicated")
    loss = SpaceEngage(threshold=2.0, negatives=4)
    loss.hard_rows = lambda z, own, p, u: own.nonzero()[:1, 0]  # one anchor a class
    loss(views(z, index, label).append(block)).backward()
    assert held.grad is None
    assert (z.grad.abs().sum(-1) > 0).sum() == 3


def test_gradient_with_constant_negatives():
    z, index, label = data()
    held = Candidates(torch.randn(3, 5).double(), {"label": torch.arange(3)}, name="prototype", where="replicated")
    loss = SpaceEngage(Learnable(0.5), threshold=2.0, negatives=4).double().eval()
    fixed = F.normalize(z, dim=-1).transpose(0, 1).flatten(0, 1)

    def value(z):
        return loss(views(z, index, label).append(held))

    # negatives are constants: compare with finite differences of a loss whose negatives stay
    z = z.requires_grad_()
    (grad,) = torch.autograd.grad(value(z), z)
    tables = []
    draw, loss.draw = loss.draw, lambda *a: tables.append(draw(*a)) or tables[-1]
    value(z)
    tau = 0.5
    x = F.normalize(z, dim=-1).transpose(0, 1).flatten(0, 1)
    of, p, total = label.repeat_interleave(2), F.normalize(held.first, dim=1), []
    for c in range(3):
        rows = (of == c).nonzero()[:, 0]
        order = loss.hard_rows(x.detach(), of == c, p[c], _u(loss, index))
        assert sorted(order.tolist()) == rows.tolist()
        logit = torch.cat([(x[order] @ p[c])[:, None], (x[order, None] * fixed[tables[c]]).sum(2)], 1) / tau
        total.append((logit.logsumexp(1) - logit[:, 0]).mean())
    torch.testing.assert_close(torch.autograd.grad(torch.stack(total).mean(), z)[0], grad)


def _u(loss, index):
    from lightning_contrast.functional.counter_random import counter_uniform

    key = (index[:, None] * 8 + torch.arange(2)).flatten()
    return counter_uniform(key, 1 + 2 * loss.negatives, seed=loss.seed, epoch=loss.calls)[:, 0]


def share(rows, exchange):
    z, index, label = data(16)
    z = z[:, rows].clone().requires_grad_()
    loss = SpaceEngage(threshold=0.5, anchors=3, negatives=5)
    value = loss(views(z, index[rows], label[rows]).replace(exchange=exchange))
    value.backward()
    return value.detach(), z.grad


def on_rank(rank, world):
    return share(slice(0, 5) if rank == 0 else slice(5, 16), "gather")


def test_two_processes_are_one():
    alone, shares = share(slice(0, 16), "none"), run_ranks(2, on_rank)
    torch.testing.assert_close(sum(s[0] for s in shares) / 2, alone[0])
    torch.testing.assert_close(torch.cat([s[1] for s in shares], dim=1) / 2, alone[1])


# With the memory ------------------------------------------------------------------------------------------------------


def build():
    return simclr(SpaceEngage(threshold=0.9, anchors=8, negatives=16), dropout=0)


def memory():
    return [PrototypeMemory(10, assign="label", append=True, momentum=0.9)]


def test_trains_with_the_memory():
    record = Losses()
    fit(build(), [*memory(), record], steps=12)
    assert record.losses[-1] < record.losses[0]
    assert record.contrasts[-1].candidates[-1].name == "prototype"


def test_resume(tmp_path):
    assert_resumes_exactly(tmp_path, build, memory)


def test_two_processes_train_as_one(tmp_path):
    assert_two_processes_train_as_one(tmp_path, build, memory)


def test_labels_that_two_sources_agree_on():
    z = F.normalize(torch.randn(20, 4), dim=1)
    p, prototype = torch.randn(20, 3).softmax(1), F.normalize(torch.randn(3, 4), dim=1)
    found = agreeing_labels(p, z, prototype, 0.5)
    for i in range(20):
        both = int(p[i].argmax()) == int((prototype @ z[i]).argmax()) and float(p[i].max()) >= 0.5
        assert int(found[i]) == (int(p[i].argmax()) if both else -1)
    with pytest.raises(ValueError, match="probability"):
        agreeing_labels(p[:, :2], z, prototype)
    with pytest.raises(ValueError, match="confidence=1"):
        agreeing_labels(p, z, prototype, 1)


def test_arguments_are_checked():
    for bad in ({"anchors": 0}, {"negatives": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            SpaceEngage(**bad)
    z, index, label = data()
    with pytest.raises(ValueError, match="one temperature"):
        SpaceEngage()(views(z, index, label).replace(temperature=torch.ones(16)))
