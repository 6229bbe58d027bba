"""Restoring pictures: three terms, two players."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.data import DigitsDataModule, LowResolution
from lightning_contrast.encoders import ModuleEncoder, Upscaler
from lightning_contrast.functional.resolution import lowered, raised
from lightning_contrast.objectives import PCLSR, SuperResolution
from tests.callbacks.kit import assert_resumes_exactly, fit
from tests.modules.test_contrastive import PICTURES

X = PICTURES[:6]
Y = raised(lowered(X.view(6, 1, 8, 8), 2), 2).flatten(1)


def made(**kwargs):
    torch.manual_seed(0)
    return SuperResolution(widths=[3, 4], **kwargs)


def gradients(objective, y=Y):
    y = y.clone().requires_grad_()
    loss = objective(Contrast.from_pairs(y, X, index=torch.arange(6)))
    loss.backward()
    return loss.item(), y.grad, [p.grad for p in objective.critic.parameters()]


def test_the_terms_by_hand():
    """A critic that knows nothing loses log 2 on each side; a quarter of a pixel off costs a quarter."""
    objective = made(pixel=2.0, contrastive=0.0)
    for p in objective.critic.last.parameters():
        torch.nn.init.zeros_(p)
    loss = objective(Contrast.from_pairs(X + 0.25, X))
    assert loss.item() == pytest.approx(2 * 0.25 + 2 * math.log(2), abs=1e-5)


def test_the_contrast_is_pclsr_in_the_maps_and_the_mean_is_over_layers():
    objective = made(pixel=0.0, contrastive=3.0)
    contrasts = objective.directions(Contrast.from_pairs(Y, X, index=torch.arange(6)))
    assert [c.candidates[0].rows for c in contrasts] == [3, 3]
    assert [c.candidates[1].rows for c in contrasts] == [5, 5]
    own, shared = PCLSR()(contrasts), objective.game(Y, X)
    assert torch.stack([r.loss for r in objective.evaluate_all(contrasts)]).mean().item() == pytest.approx(
        (3 * own + shared).item(), abs=1e-5
    )
    for layer, contrast in enumerate(contrasts):
        maps = [F.normalize(objective.critic(objective.picture(p))[layer], dim=1) for p in (Y, X)]
        cosine = (maps[0] * maps[1]).sum(1).mean((1, 2))
        torch.testing.assert_close(contrast.scores().similarity[:, 0], cosine)  # the truth comes first
        # the upsampled input, which is the last, is what was restored here
        torch.testing.assert_close(contrast.scores().similarity[:, -1], torch.ones(6))


def test_only_the_game_trains_the_critic_and_reaches_the_output_turned_round():
    plain = made(pixel=0.0, contrastive=0.0, adversarial=0.0)
    with_all = made(pixel=1.0, contrastive=5.0, adversarial=0.5)
    _, still, own = gradients(plain)
    _, moved, same = gradients(with_all)
    assert still.abs().max() == 0
    assert moved.abs().max() > 0
    for a, b in zip(own, same, strict=True):
        torch.testing.assert_close(a, b)
    assert all(g.abs().sum() > 0 for g in own)
    _, turned, _ = gradients(made(pixel=0.0, contrastive=0.0, adversarial=0.5))
    y = Y.clone().requires_grad_()
    F.softplus(plain.critic.score(plain.picture(y))).mean().backward()
    torch.testing.assert_close(turned, -0.5 * y.grad)


def test_the_truth_is_better_than_the_blurred():
    objective = made(adversarial=0.0)
    losses = [gradients(objective, y)[0] for y in (X, (X + Y) / 2, Y)]
    assert losses == sorted(losses)


def test_copies_go_by_the_sample():
    objective = made()
    order = torch.tensor([3, 1, 0, 2, 5, 4])
    one, two = (
        objective.directions(Contrast.from_pairs(Y[rows], X[rows], index=rows))[0].scores().similarity
        for rows in (torch.arange(6), order)
    )
    torch.testing.assert_close(one[order], two)


def module():
    torch.manual_seed(0)
    return ContrastiveModule(
        Upscaler([4]), SuperResolution(widths=[3, 4]), key_encoder=ModuleEncoder("torch.nn.Flatten")
    )


def data():
    return DigitsDataModule(batch_size=48, pairs=True, augmentation=LowResolution())


def test_it_learns_to_restore_and_begins_with_upsampling():
    source = data()
    source.prepare_data()
    source.setup("fit")
    low, truth = source.augmentation.views(
        torch.stack([source.val_set[i]["input"] for i in range(64)]), torch.arange(64), 0
    )
    upscaler = module().encoder
    torch.testing.assert_close(upscaler(low), raised(low, 2).flatten(1))
    made = module()
    fit(made, steps=40, data=data())
    before, after = ((net(low) - truth.flatten(1)).abs().mean().item() for net in (upscaler, made.encoder))
    assert after < 0.97 * before


def test_resume(tmp_path):
    assert_resumes_exactly(tmp_path, module, list, data=data())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: made(pixel=-1.0), "pixel=-1.0"),
        (lambda: made(sharp=-1), "sharp=-1"),
        (lambda: made(sigma=(2.0, 1.0)), "sigma=.2.0, 1.0"),
        (lambda: made()(Contrast.from_pairs(X[:, :60], X[:, :60])), "no square pictures"),
        (lambda: lowered(torch.ones(1, 1, 7, 8), 2), "factor=2: must divide"),
        (lambda: Upscaler(factor=0), "factor=0"),
        (lambda: Upscaler()(torch.ones(2, 3, 4, 4)), "got pictures of shape"),
        (lambda: LowResolution().views(X.view(6, 1, 8, 8), torch.arange(6), 0, 3), "n_views=3"),
    ],
)
def test_misuse(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()
