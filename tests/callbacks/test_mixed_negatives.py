"""MixedNegatives: mixtures of an anchor's hardest negatives, and of nothing else."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast
from lightning_contrast.callbacks import FalseNegativeFilter, MemoryQueue, MixedNegatives, TemperatureSchedule
from lightning_contrast.contrast import Candidates
from lightning_contrast.objectives import InfoNCE, SupCon
from lightning_contrast.targets import SameLabel
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def contrast_with_queue(n=4, m=20, **payload):
    a = unit(n, 5)
    queue = Candidates(unit(m, 5), {"index": torch.arange(100, 100 + m), **payload}, "queue", "replicated", True)
    return Contrast.from_pairs(a, unit(n, 5), in_batch=False, index=torch.arange(n)).append(queue)


def mixtures(contrast, step=0, **kwargs):
    return MixedNegatives(**kwargs).block(contrast, contrast.candidates[-1], step)


def test_the_worked_mixture():
    """(.8, .6) and (.6, .8) at one half: (.7, .7), of norm 0.98995, to unit length."""
    z = torch.tensor([[0.8, 0.6], [0.6, 0.8]], dtype=torch.float64)
    mixed = z.mean(0)
    assert mixed.norm().item() == pytest.approx(0.98995, abs=1e-5)
    block = Candidates(mixed[None, None], name="mixed", where="private")
    contrast = Contrast.from_pairs(z[:1], z[:1], in_batch=False).append(block)
    assert contrast.scores().similarity[0, 1].item() == pytest.approx((0.7071 * 0.8 + 0.7071 * 0.6), abs=1e-4)


def test_pairs_are_mixed_from_the_hardest():
    contrast = contrast_with_queue()
    block = mixtures(contrast, hardest=3, mixed=50, with_anchor=0)
    queue = contrast.candidates[-1].z
    hardest = (contrast.anchors.z @ queue.T).topk(3, dim=1).indices
    for z, rows in zip(block.z, hardest, strict=True):
        # every mixture is a convex combination of at most two of the three
        weights = torch.linalg.lstsq(queue[rows].T, z.T).solution.T
        torch.testing.assert_close(weights @ queue[rows], z)
        assert (weights > -1e-9).all()
        torch.testing.assert_close(weights.sum(1), torch.ones(50, dtype=torch.float64))
        assert ((weights > 1e-9).sum(1) <= 2).all()
        assert ((weights > 1e-9).any(0)).all(), "all three serve"


def test_the_anchor_contributes_less_than_the_negative():
    contrast = contrast_with_queue()
    block = mixtures(contrast, hardest=2, mixed=0, with_anchor=200)
    queue, q = contrast.candidates[-1].z, contrast.anchors.z
    rows = (q @ queue.T).topk(2, dim=1).indices
    for z, own, pair in zip(block.z, q, rows, strict=True):
        basis = torch.stack([own, *queue[pair]])
        share = torch.linalg.lstsq(basis.T, z.T).solution.T[:, 0]
        assert share.min() >= 0
        assert share.max() < 0.5
        assert 0.2 < share.mean() < 0.3


def test_positives_and_filtered_entries_are_not_mixed():
    label = torch.zeros(20, dtype=torch.int64)
    label[:3] = 1
    contrast = contrast_with_queue(label=label).attach("anchor", label=torch.zeros(4, dtype=torch.int64))
    block = mixtures(contrast.retarget(SameLabel()), hardest=10, mixed=30, with_anchor=0)
    queue = contrast.candidates[-1].z
    for z in block.z:  # only the three of label 1 are negatives
        weights = torch.linalg.lstsq(queue[:3].T, z.T).solution.T
        torch.testing.assert_close(weights @ queue[:3], z)
    assert (block.payload["label"] == -1).all()
    filtered = FalseNegativeFilter(max_score=-2.0).on_contrast(None, None, contrast)
    block = mixtures(filtered, hardest=10, mixed=30, with_anchor=0)
    whole = filtered.append(block).scores()
    assert not whole.exists[:, 21:].any(), "nothing to mix: the mixtures do not exist"


def test_draws_depend_on_step_and_sample_alone():
    contrast = contrast_with_queue()
    one, again = (mixtures(contrast, step=3, hardest=8, mixed=5).z for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, mixtures(contrast, step=4, hardest=8, mixed=5).z)
    part = contrast.replace(
        anchors=contrast.anchors.map(lambda t: t[2:]),
        candidates=(contrast.candidates[0].map(lambda t: t[2:]), contrast.candidates[1]),
    )
    torch.testing.assert_close(mixtures(part, step=3, hardest=8, mixed=5).z, one[2:])


def test_the_loss_grows_and_the_queue_does_not():
    plain, mixed = Losses(), Losses()
    fit(moco(), [MemoryQueue(64), plain], steps=2)
    fit(moco(), [queue := MemoryQueue(64), MixedNegatives(16, 8, 4), mixed], steps=2)
    assert mixed.losses[0] == plain.losses[0], "nothing to mix yet"
    assert mixed.losses[1] > plain.losses[1]
    assert [b.rows for b in mixed.contrasts[1].candidates] == [1, 32, 12]
    assert queue.fill == 64


def test_warm_up():
    record = Losses()
    fit(moco(), [MemoryQueue(64), MixedNegatives(16, 8, 4, warmup_steps=2), record], steps=3)
    assert [len(c.candidates) for c in record.contrasts] == [1, 2, 3]


def parts():
    return [
        MemoryQueue(100),
        FalseNegativeFilter(skip=1),
        MixedNegatives(16, 8, 4),
        TemperatureSchedule(0.2, 0.4, "linear"),
    ]


@pytest.mark.parametrize("build", [moco, lambda: simclr(SupCon(0.2))], ids=["moco", "supcon"])
def test_resume(tmp_path, build):
    assert_resumes_exactly(tmp_path, build, parts)


def test_two_processes(tmp_path):
    assert_two_processes_train_as_one(tmp_path, moco, lambda: [MemoryQueue(96), MixedNegatives(16, 8, 4)])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"hardest": 1}, "hardest=1"),
        ({"mixed": 0, "with_anchor": 0}, "mixed=0"),
        ({"warmup_steps": -1}, "warmup_steps"),
    ],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MixedNegatives(**kwargs)


@pytest.mark.parametrize("callbacks", [[MixedNegatives()], [MixedNegatives(), MemoryQueue()]])
def test_the_source_must_come_first(callbacks):
    with pytest.raises(ValueError, match="no callback before it appends a block"):
        fit(simclr(InfoNCE()), callbacks)


def test_each_anchors_own_negatives_are_mixed_for_it_alone():
    z, own = unit(4, 5), unit(4, 3, 5)
    contrast = Contrast.from_pairs(z, unit(4, 5), index=torch.arange(4))
    contrast = contrast.append(Candidates(own, {"index": torch.full((4, 3), 9)}, name="mined", where="private"))
    block = mixtures(contrast, source="mined", hardest=3, mixed=20, with_anchor=0)
    assert block.z.shape == (4, 20, 5)
    for mixed, held in zip(block.z, own, strict=True):
        weights = torch.linalg.lstsq(held.T, mixed.T).solution.T
        torch.testing.assert_close(weights @ held, mixed)
        torch.testing.assert_close(weights.sum(1), torch.ones(20, dtype=torch.float64))
    plain, more = (InfoNCE(0.2)(c) for c in (contrast, contrast.append(block)))
    assert more > plain, "mixtures only enlarge the denominator"
