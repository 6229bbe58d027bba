"""PCL-SR: near sharp copies, away from blurred ones."""

import math

import pytest
import torch
from torch import nn

from lightning_contrast.contrast import Contrast
from lightning_contrast.functional.sharpness import blurred, sharpened
from lightning_contrast.objectives import PCLSR, InfoNCE, feature_contrasts
from tests.modules.test_contrastive import PICTURES
from tests.objective_tester import ObjectiveTester
from tests.objectives.plain import mean

IMAGES = PICTURES[:12].view(12, 1, 8, 8)


def each_positive(logits, targets):
    far = math.fsum(math.exp(x) for x, t in zip(logits, targets, strict=True) if not t)
    near = [x for x, t in zip(logits, targets, strict=True) if t]
    return mean([math.log(math.exp(x) + far) - x for x in near]) if near else None


class TestPCLSR(ObjectiveTester):
    objective = PCLSR
    oracle = staticmethod(each_positive)


class Labelled(PCLSR):
    def prepare(self, contrast):
        return super().prepare(contrast.retarget(lambda p: p.same("label").float()))


class TestSeveralPositives(ObjectiveTester):
    objective = Labelled
    oracle = staticmethod(each_positive)
    setting = "views"
    target = "label"


def critic():
    torch.manual_seed(0)
    layers = nn.ModuleList([nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)])

    def features(x):
        maps = []
        for layer in layers:
            x = torch.tanh(layer(x))
            maps.append(x)
        return maps

    return layers, features


def several(features, copies):
    """Maps ``[N, P, C, H, W]`` of a list of images."""
    found = [features(c) for c in copies]
    return [torch.stack(maps, 1) for maps in zip(*found, strict=True)]


def contrasts(output, shared=False):
    layers, features = critic()
    ones = torch.ones(12)
    near = several(features, [IMAGES, sharpened(IMAGES, 2 * ones)])
    far = several(features, [blurred(IMAGES, s * ones) for s in (1.0, 2.0, 4.0)])
    return layers, near, far, feature_contrasts(features(output), near, far, shared)


def test_is_the_loop_over_layers_and_places():
    output = blurred(IMAGES, torch.full((12,), 0.7))
    _, near, far, made = contrasts(output)
    maps = critic()[1](output)
    layers = []
    for y, p, n in zip(maps, near, far, strict=True):
        for i in range(12):
            sim = [torch.cosine_similarity(y[i], other, dim=0).mean().item() for other in (*p[i], *n[i])]
            layers.append(each_positive(sim, [1, 1, 0, 0, 0]))
    assert PCLSR()(made).item() == pytest.approx(mean(layers), abs=1e-6)


def test_the_truth_is_similar_to_itself_at_each_layer():
    for contrast in contrasts(IMAGES)[-1]:
        torch.testing.assert_close(contrast.scores().similarity[:, 0], torch.ones(12))


def test_the_loss_grows_with_the_blur():
    values = [PCLSR()(contrasts(blurred(IMAGES, torch.full((12,), s)))[-1]).item() for s in (0.0, 0.4, 0.6, 1.0, 2.0)]
    assert values == sorted(values)
    assert len(set(values)) == 5


def test_no_gradient_reaches_the_critic_but_the_output():
    layers, features = critic()
    for p in layers.parameters():
        p.requires_grad_(False)
    output = IMAGES.clone().requires_grad_()
    near, far = several(features, [IMAGES]), several(features, [blurred(IMAGES, torch.ones(12))])
    PCLSR()(feature_contrasts(features(output), near, far)).backward()
    assert output.grad.abs().sum() > 0
    maps = [m.clone().requires_grad_() for m in near]
    PCLSR()(feature_contrasts(features(output), maps, far)).backward()
    assert all(m.grad is None for m in maps)


def test_shared_negatives_are_everybodys():
    made = contrasts(IMAGES, shared=True)[-1]
    assert made[0].scores().shape == (12, 2 + 36)
    assert PCLSR()(made) > PCLSR()(contrasts(IMAGES)[-1])


def test_one_positive_is_infonce():
    z = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).double()
    pairs = Contrast.from_pairs(z[0], z[1])
    torch.testing.assert_close(PCLSR(0.3)(pairs), InfoNCE(0.3)(pairs))


def test_sharper_and_softer():
    ones = torch.ones(12)
    torch.testing.assert_close(blurred(IMAGES, 0 * ones), IMAGES)
    torch.testing.assert_close(sharpened(IMAGES, 0 * ones), IMAGES)
    rough = lambda x: x.diff(dim=3).abs().mean()  # noqa: E731
    assert rough(blurred(IMAGES, 2 * ones)) < rough(IMAGES) < rough(sharpened(IMAGES, 3 * ones))
    for bad in (lambda: blurred(IMAGES, ones, 4), lambda: blurred(IMAGES, -ones)):
        with pytest.raises(ValueError, match="must be"):
            bad()


def test_shapes_are_checked():
    y, p = [torch.ones(2, 3, 4, 4)], [torch.ones(2, 1, 3, 4, 4)]
    with pytest.raises(ValueError, match="1 layers of outputs"):
        feature_contrasts(y, p, [])
    with pytest.raises(ValueError, match="layer 0 has maps"):
        feature_contrasts(y, p, [torch.ones(2, 3, 4, 4)])
