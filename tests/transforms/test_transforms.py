"""Each transform by itself, and in a ContrastiveModule: chunks, teachers, processes, checkpoints, YAML."""

import pytest
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import MemoryQueue
from lightning_contrast.encoders import Momentum
from lightning_contrast.heads import MLPHead
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.transforms import Centre, DimensionPrefix, Gate, NonNegative, SetPooling, Transform
from lightning_contrast.transforms.transform import transformed_pairs
from tests.modules.test_contrastive import Digits, linear, loader, trainer, weights
from tests.modules.test_processes import Sharded, sgd
from tests.ranks import run_ranks

Z = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MAKERS = {
    "centre": Centre,
    "non-negative": NonNegative,
    "non-negative, gelu": lambda: NonNegative("gelu"),
    "gate": lambda: Gate().double(),
    "pooling": lambda: SetPooling(2, normalize=True),
    "prefix": lambda: DimensionPrefix(3),
}


@pytest.mark.parametrize("name", MAKERS)
def test_gradients(name):
    torch.manual_seed(0)
    transform = MAKERS[name]()
    out = transform(Z)
    if name == "non-negative, gelu":  # not the derivative of its value, by design
        z = Z.clone().requires_grad_()
        transform(z).sum().backward()
        expected = Z.clone().requires_grad_()
        nn.functional.gelu(expected).sum().backward()
        torch.testing.assert_close(z.grad, expected.grad)
        assert torch.equal(out, Z.clamp(min=0))
        return
    assert torch.autograd.gradcheck(transform, (Z.clone().requires_grad_(),))


def test_values():
    assert Centre()(Z).mean((0, 1)).abs().max() < 1e-12
    assert torch.equal(NonNegative()(Z), Z.clamp(min=0))
    assert torch.equal(DimensionPrefix(2)(Z), Z[..., :2])
    assert torch.equal(SetPooling(2)(Z)[1], (Z[2] + Z[3]) / 2)
    assert torch.equal(SetPooling(2, "max")(Z)[0], torch.maximum(Z[0], Z[1]))
    torch.testing.assert_close(SetPooling(4, "sum")(Z), SetPooling(4, "sum")(Z[[2, 0, 3, 1]]))
    unit = SetPooling(4, normalize=True)
    torch.testing.assert_close(unit(Z), unit(Z * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None]))
    gate = Gate(bias=50.0).double()
    torch.testing.assert_close(gate(Z), Z)  # open
    with torch.no_grad():
        gate.bias.zero_()
        gate.linear.weight.copy_(torch.eye(5))
    torch.testing.assert_close(gate(Z), Z * torch.sigmoid(Z))
    fresh = Gate().double()
    fresh.load_state_dict(gate.state_dict())
    torch.testing.assert_close(fresh(Z), gate(Z))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: NonNegative("elu"), "backward"),
        (lambda: SetPooling(0), "size=0"),
        (lambda: SetPooling(2, "median"), "how"),
        (lambda: SetPooling(3)(Z), "multiple of 3"),
        (lambda: DimensionPrefix(0), "dim=0"),
        (lambda: DimensionPrefix(9)(Z), "width 5"),
    ],
)
def test_wrong_values_are_told(make, word):
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize(("wrong", "word"), [(Centre, "the class Centre"), (["relu"], "'relu'")])
def test_what_is_no_transform_is_told(wrong, word):
    with pytest.raises(TypeError, match=word):
        ContrastiveModule(linear(), transform=wrong)


def test_negatives_are_keys():
    anchors, positives, negatives = Z[0], Z[1], Z[2:].flatten(0, 1)
    a, p, n = transformed_pairs(nn.ModuleList([Centre(), nn.Identity()]), anchors, positives, negatives)
    mean = torch.cat([positives, negatives]).mean(0)
    torch.testing.assert_close(a, anchors - anchors.mean(0))
    torch.testing.assert_close(torch.cat([p, n]), torch.cat([positives, negatives]) - mean)
    assert transformed_pairs(nn.ModuleList(), (anchors, 1), positives)[0] == (anchors, 1)


def test_a_teachers_keys_stay_without_gradient():
    gate = Gate().double()
    anchors, keys = gate.both(Z[:1].clone().requires_grad_(), Z[1:2])
    assert anchors.requires_grad
    assert not keys.requires_grad
    torch.testing.assert_close(keys, gate(Z[1:2]).detach())


class Batch:
    """Two fixed batches of a loader, as the module sees them."""

    views = next(iter(loader()))
    pairs = next(iter(loader(keys=("anchor", "positive", "negative"))))


BUILDS = {
    "views": {},
    "momentum": {"key_encoder": Momentum, "both_orders": True},
    "predictor": {"predictor": lambda: MLPHead((), 16)},
}


@pytest.mark.parametrize("case", BUILDS)
def test_both_sides_are_transformed(case):
    kwargs = {key: value() if callable(value) else value for key, value in BUILDS[case].items()}
    module = ContrastiveModule(linear(), InfoNCE(), transform=[NonNegative(), DimensionPrefix(4)], **kwargs)
    contrasts = module.contrast(Batch.views)
    for contrast in contrasts if isinstance(contrasts, list) else [contrasts]:
        for block in (contrast.anchors, contrast.candidates[0]):
            assert block.first.shape[-1] == 4
            assert (block.first >= 0).all()


def test_pairs_and_sets():
    module = ContrastiveModule(linear(), transform=NonNegative(), in_batch=False)
    contrast = module.contrast(Batch.pairs)
    assert all((block.first >= 0).all() for block in (contrast.anchors, *contrast.candidates))
    assert contrast.candidates[1].first.shape == (32, 1, 16)
    four = {**Batch.views, "views": Batch.views["views"] * 2}
    assert ContrastiveModule(linear(), transform=SetPooling(2)).contrast(four).anchors.rows == 64


def test_chunks_make_no_difference():
    """Centre reads the whole batch: after chunks were put together."""
    found = []
    for size in (None, 5):
        torch.manual_seed(0)
        module = sgd(ContrastiveModule(linear(), InfoNCE(0.2), transform=[Centre(), Gate()], chunk_size=size))
        trainer(max_steps=3).fit(module, loader())
        found.append(weights(module))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)


def test_two_processes_train_as_one():
    found = []
    for world in (1, 2):
        torch.manual_seed(0)
        module = sgd(ContrastiveModule(linear(), InfoNCE(0.2), transform=[Gate(), Centre(), NonNegative("gelu")]))
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        trainer(max_steps=3, use_distributed_sampler=False, **many).fit(module, Sharded(world, ("views",)))
        found.append(weights(module))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)


def centred(rank, world):
    z = Z[:, :2] if rank == 0 else Z[:, 2:]
    z = z.clone().requires_grad_()
    out = Centre()(z)
    out.square().sum().backward()
    return out.detach(), z.grad


def test_the_centre_is_that_of_all_ranks():
    z = Z.clone().requires_grad_()
    out = Centre()(z)
    out.square().sum().backward()
    for place, expected in enumerate((out, z.grad)):
        together = torch.cat([found[place] for found in run_ranks(2, centred)], dim=1)
        torch.testing.assert_close(together, expected)


def test_checkpoint_and_queue(tmp_path):
    """Trained with the module, saved with it; a queue holds transformed keys, and plain hyper-parameters load safely."""
    torch.manual_seed(0)
    queue = MemoryQueue(size=64)
    module = ContrastiveModule(
        linear(), InfoNCE(), key_encoder=Momentum(), in_batch=False, transform=[Gate(), NonNegative()]
    )
    t = trainer(callbacks=[queue])
    t.fit(module, loader())
    t.save_checkpoint(tmp_path / "x.ckpt")
    held = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert "transform" not in held["hyper_parameters"]
    gate = module.transforms[0]
    assert gate.bias.item() != 2.0, "it trains"
    assert held["state_dict"]["transforms.0.bias"] == gate.bias
    again = ContrastiveModule.load_from_checkpoint(
        tmp_path / "x.ckpt", encoder=linear(1), key_encoder=Momentum(), transform=[Gate(), NonNegative()]
    )
    torch.testing.assert_close(
        again.contrast(Batch.views)[0].anchors.z, module.cpu().contrast(Batch.views)[0].anchors.z
    )
    columns = held["callbacks"][queue.state_key]["columns"]
    keys = next(column for key, column in columns.items() if not key.startswith("payload/"))
    assert (keys >= 0).all()


class Swap(Transform):
    """A transform of pairs: each side becomes the other."""

    def forward(self, z):
        return z.flip(0)

    def both(self, anchors, keys):
        return keys, anchors


def test_a_transform_of_both_sides():
    plain, swapped = ContrastiveModule(linear()), ContrastiveModule(linear(), transform=Swap())
    one, two = plain.contrast(Batch.views), swapped.contrast(Batch.views)
    torch.testing.assert_close(one.anchors.z.chunk(2)[0], two.anchors.z.chunk(2)[1])
    pairs = {"anchor": Digits()[0]["views"][0][None], "positive": Digits()[1]["views"][0][None]}
    one, two = plain.contrast(pairs), swapped.contrast(pairs)
    torch.testing.assert_close(one.anchors.z, two.candidates[0].z)
