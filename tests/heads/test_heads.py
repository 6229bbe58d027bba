import pytest
import torch
from torch.nn.parameter import UninitializedParameter

from lightning_contrast.heads import LinearHead, MLPHead, PrototypeHead, ReweightingHead, SparseHead, StackedHead

MAKERS = {
    "linear": lambda: LinearHead(6),
    "mlp": lambda: MLPHead((7, 8), 6, batch_norm=True),
    "mlp-plain": lambda: MLPHead((7,), 6, batch_norm=False, activation="gelu"),
    "mlp-none": lambda: MLPHead((), 6),
    "mlp-moco-v3": lambda: MLPHead((7,), 6, final_batch_norm=True, batch_norm=True),
    "prototypes": lambda: PrototypeHead(6),
    "sparse": lambda: SparseHead(6, 4),
    "stacked": lambda: StackedHead([MLPHead((7,), 5), PrototypeHead(6)]),
}


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_width_comes_from_the_first_batch(name):
    head = MAKERS[name]()
    assert head.output_dim == 6
    assert any(isinstance(p, UninitializedParameter) for p in head.parameters())
    assert head(torch.randn(4, 3)).shape == (4, 6)
    assert not any(isinstance(p, UninitializedParameter) for p in head.parameters())
    assert head(torch.randn(2, 4, 3)).shape == (2, 4, 6)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_width_comes_from_a_loaded_state(name):
    head, fresh = MAKERS[name](), MAKERS[name]()
    x = torch.randn(4, 3)
    head(x)
    fresh.load_state_dict(head.state_dict())
    assert not any(isinstance(p, UninitializedParameter) for p in fresh.parameters())
    torch.testing.assert_close(fresh.eval()(x), head.eval()(x))


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_an_optimizer_made_before_the_first_batch_trains_it(name):
    head = MAKERS[name]()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    head(x).square().mul(torch.arange(6.0)).sum().backward()
    before = [p.clone() for p in head.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, head.parameters(), strict=True))


def test_mlp_is_what_its_arguments_say():
    kinds = [type(m).__name__ for m in MLPHead((7, 8), 6, batch_norm=True).layers]
    assert kinds == ["LazyLinear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]
    head = MLPHead((7,), 6, final_batch_norm=True, batch_norm=True)
    z = head(torch.randn(64, 3))
    torch.testing.assert_close(z.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(0, unbiased=False), torch.ones(6), atol=1e-2, rtol=0)
    assert head.layers[-2].bias is None
    assert head.layers[0].bias is None
    assert MLPHead((7,), 6, bias=False).layers[-1].bias is None


def test_statistics_are_over_all_views():
    torch.manual_seed(0)
    head = MLPHead((7,), 6, batch_norm=True)
    x = torch.randn(2, 8, 3)
    torch.testing.assert_close(head(x).flatten(0, 1), head(x.flatten(0, 1)))


def test_prototypes_are_cosines_and_a_replicated_block():
    head = PrototypeHead(3, dim=2)
    head.weight.data.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5], [3.0, 4.0]]))
    torch.testing.assert_close(head(torch.tensor([[5.0, 0.0]])), torch.tensor([[1.0, 0.0, 0.6]]))
    plain = PrototypeHead(3, dim=2, normalize=False)
    plain.load_state_dict(head.state_dict())
    torch.testing.assert_close(plain(torch.tensor([[5.0, 0.0]])), torch.tensor([[10.0, 0.0, 15.0]]))
    block = head.block(torch.zeros(1, 2))
    assert block.where == "replicated"
    assert block.payload["label"].tolist() == [0, 1, 2]
    assert block.first.requires_grad


def test_prototypes_start_at_unit_length():
    torch.testing.assert_close(PrototypeHead(9, dim=4).weight.norm(dim=1), torch.ones(9))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LinearHead(0), "output_dim"),
        (lambda: MLPHead((0,)), "hidden"),
        (lambda: MLPHead(output_dim=-1), "output_dim"),
        (lambda: MLPHead(activation="tanh"), "activation"),
        (lambda: PrototypeHead(0), "prototypes"),
        (lambda: PrototypeHead(3, dim=0), "dim"),
        (lambda: StackedHead([]), "heads"),
        (lambda: PrototypeHead(3, dim=4)(torch.randn(2, 5)), "width 5"),
    ],
)
def test_arguments_are_checked(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_reweighting_is_geometric():
    head = ReweightingHead(ratio=2.0)
    assert head(torch.ones(2, 4)).tolist() == [[1.0, 0.5, 0.25, 0.125]] * 2
    weights = ReweightingHead(1.005).weights(torch.zeros(1, 1024, dtype=torch.float64))
    assert float(weights[0] / weights[-1]) == pytest.approx(1.005**1023)
    assert ReweightingHead(2.0).weights(torch.zeros(1, 4000)).min() == pytest.approx(1e-4)  # no underflow
    x = torch.randn(3, 5)
    assert torch.equal(ReweightingHead(1.0)(x), x)
    assert not list(head.parameters())
    with pytest.raises(ValueError, match=r"ratio=0\.5"):
        ReweightingHead(0.5)


def test_sparse_codes():
    torch.manual_seed(0)
    head, x = SparseHead(latents=12, k=3), torch.randn(40, 5)
    code = head(x)
    assert ((code != 0).sum(1) <= 3).all()
    assert (code >= 0).all()
    whole = head.activations(x).relu()
    for row, full in zip(code, whole, strict=True):
        torch.testing.assert_close(row.sort().values[-3:], full.sort().values[-3:])
    full = SparseHead(12, 12)
    full.load_state_dict(head.state_dict())
    torch.testing.assert_close(full.decode(full(x)), whole @ head.weight + head.centre)
    with pytest.raises(ValueError, match="width 5"):
        head(torch.randn(2, 6))
    with pytest.raises(ValueError, match="k=13"):
        SparseHead(12, 13)
