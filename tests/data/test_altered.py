"""Pasted digits and forgeries, and what is learnt from them."""

import pytest
import torch

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.data import DigitsDataModule, Forgeries, PastedDigits
from lightning_contrast.data.digits import read_digits
from lightning_contrast.encoders import SmallCNN
from lightning_contrast.heads import LinearHead
from lightning_contrast.objectives import Disentangled, SepCLR
from lightning_contrast.regularisers import UCF, Regularised
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, simclr

IMAGES, INDEX = read_digits(28)[0][:200], torch.arange(200)
PLAIN = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "color": 0.0, "blur": 0.0, "mean": [0.0], "std": [1.0]}


@pytest.mark.parametrize("kind", [PastedDigits, Forgeries])
def test_who_is_changed_stays_so_and_the_rest_is_as_it_was(kind):
    augment = kind(share=0.3, **PLAIN)
    one, two = augment.views(IMAGES, INDEX, epoch=0)
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(one, augment.views(IMAGES, INDEX, epoch=5)[0])
    order = torch.randperm(200)
    torch.testing.assert_close(one[order], augment.views(IMAGES[order], INDEX[order], epoch=0)[0])
    known = augment.payload(IMAGES, INDEX, 0)
    flag = known["pasted" if kind is PastedDigits else "forged"]
    assert 0.2 < flag.float().mean() < 0.4
    truth = IMAGES / 255
    torch.testing.assert_close(one[flag == 0], truth[flag == 0])
    changed = (one - truth).abs().amax((1, 2, 3)) > 0.05
    assert changed[flag == 1].float().mean() > 0.95
    other = known["digit" if kind is PastedDigits else "method"]
    assert torch.equal(other > 0, flag > 0)
    assert other.unique().tolist() == list(range(11 if kind is PastedDigits else 5))


def test_a_pasted_digit_can_be_read():
    """On black it is one of scikit-learn's digits of its class."""
    augment = PastedDigits(share=1.0, size=0.5, **PLAIN)
    black = torch.zeros_like(IMAGES)
    view, known = augment.views(black, INDEX, 0)[0], augment.payload(black, INDEX, 0)
    digits, labels = read_digits(14)
    for i in range(0, 200, 20):
        windows = view[i, 0].unfold(0, 14, 1).unfold(1, 14, 1).reshape(-1, 14 * 14)
        gap = torch.cdist(windows, digits.flatten(1) / 255, p=torch.inf).amin(0)
        assert gap.min() < 1e-4
        assert labels[gap.argmin()] + 1 == known["digit"][i]


def test_squares_of_forgeries_are_half_a_side():
    augment = Forgeries(share=1.0, **PLAIN)
    noise = torch.rand(200, 1, 28, 28)
    gap = (augment.views(noise, INDEX, 0)[0] - noise).abs()[:, 0] > 1e-4
    rows, columns = (gap.any(d).sum(1) for d in (2, 1))
    assert (rows <= 14).all()
    assert (columns <= 14).all()
    assert (rows >= 12).float().mean() > 0.95


def test_sepclr_splits_one_embedding():
    torch.manual_seed(0)
    z, y = torch.randn(2, 6, 5), torch.tensor([0, 1, 1, 0, 1, 0])
    one = SepCLR(width=2, key="pasted")(Contrast.from_pairs(z[0], z[1], pasted=y))
    two = SepCLR()(Contrast.from_pairs((z[0, :, :3], z[0, :, 3:]), (z[1, :, :3], z[1, :, 3:]), label=y))
    torch.testing.assert_close(one, two)


def sepclr():
    torch.manual_seed(0)
    objective = SepCLR(salient=2.0, null=2.0, independence=1.0, width=4, key="pasted")
    return ContrastiveModule(SmallCNN([4, 8]), objective, head=LinearHead(12))


def ucf():
    torch.manual_seed(0)
    objective = Regularised(Disentangled(label="forged"), [UCF(key="forged")])
    return ContrastiveModule(SmallCNN([4, 8]), objective, head=LinearHead(12))


def test_resume(tmp_path):
    for name, build, augment in (("sepclr", sepclr, PastedDigits()), ("ucf", ucf, Forgeries())):
        (tmp_path / name).mkdir()
        data = DigitsDataModule(batch_size=48, augmentation=augment, pairs=name == "sepclr")
        assert_resumes_exactly(tmp_path / name, build, list, stop=1, steps=2, data=data)


def halves(**kwargs):
    torch.manual_seed(0)
    objective = Disentangled(classes=2, kinds=3)
    objective.common, objective.specific = torch.nn.Linear(8, 2), torch.nn.Linear(8, 3)
    module = simclr(Regularised(objective, [UCF(0.5)]), dropout=0.0)
    whole = module.contrast
    module.contrast = lambda batch: whole({**batch, "label": batch["label"] % 2, "method": batch["label"] % 3})
    module.objective.requires = ()
    return module


def test_processes(tmp_path):
    assert_two_processes_train_as_one(tmp_path, halves, list, steps=3)


def test_halves_by_hand():
    torch.manual_seed(0)
    objective = Disentangled(2, 3, weight=0.5)
    z, label, method = torch.randn(2, 4, 6), torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 2, 0])
    contrast = Contrast.from_views(z, label=label, method=method)
    (ready,) = objective.directions(contrast)
    rows = z.flatten(0, 1)
    torch.testing.assert_close(ready.anchors.first, rows[:, :3])
    torch.testing.assert_close(ready.anchors.get("specific"), rows[:, 3:])
    one = objective.common(rows[:, :3]).log_softmax(1)[torch.arange(8), label.repeat(2)]
    two = objective.specific(rows[:, 3:]).log_softmax(1)[torch.arange(8), method.repeat(2)]
    torch.testing.assert_close(objective(contrast), -(one + 0.5 * two).mean())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: Forgeries(share=1.5), "share=1.5"),
        (lambda: PastedDigits(size=0.0), "size=0.0"),
        (lambda: SepCLR(width=0), "width=0"),
        (
            lambda: SepCLR(width=4)(Contrast.from_pairs(torch.ones(2, 4), torch.ones(2, 4), label=torch.ones(2))),
            "nothing for the common",
        ),
        (lambda: Disentangled(classes=1), "classes=1"),
        (
            lambda: Disentangled()(
                Contrast.from_views(torch.ones(1, 2, 4), label=torch.tensor([0, 2]), method=torch.zeros(2).long())
            ),
            "'label' goes from 0 to 2",
        ),
    ],
)
def test_misuse(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()
