"""miCSE: attention of two views, beside a loop over plain numbers."""

import copy
import math
import statistics

import pytest
import torch

from lightning_contrast.encoders import DropoutRates, MLPEncoder, Prompted
from lightning_contrast.functional.gaussian_information import correlation, gaussian_information
from lightning_contrast.regularisers import AttentionInformation
from tests.ranks import run_ranks
from tests.regularisers.listeners import LENGTHS, ROWS, SMALL, batch, contrast_of, gradients, module, share


@pytest.mark.parametrize(("r", "expected"), [(0.0, 0.0), (0.5, 0.1438), (-0.5, 0.1438), (0.8, 0.5108)])
def test_worked_numbers(r, expected):
    assert gaussian_information(torch.tensor(r)).item() == pytest.approx(expected, abs=5e-5)


def test_it_diverges_at_1_and_is_clamped():
    r = torch.tensor([0.9999, 1.0, -1.0], dtype=torch.float64, requires_grad=True)
    found = gaussian_information(r, 1e-5)
    assert found.tolist() == pytest.approx([-math.log(1 - 0.9999**2) / 2, *[-math.log(1e-5) / 2] * 2])
    found.sum().backward()
    assert r.grad[0] > 1e3
    assert r.grad.isfinite().all()


def test_correlation():
    x, y = torch.randn(2, 3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = torch.arange(9) < torch.tensor([[9], [5], [0]])
    wanted = [statistics.correlation(a[:n].tolist(), b[:n].tolist()) for a, b, n in zip(x, y, (9, 5), strict=False)]
    assert correlation(x, y, kept).tolist() == pytest.approx([*wanted, 0.0])
    assert correlation(x, torch.ones_like(y), kept).tolist() == [0.0] * 3, "what does not vary"
    assert torch.autograd.gradcheck(lambda a, b: correlation(a, b, kept), (x.requires_grad_(), y.requires_grad_()))


def by_loops(net, given, layers):
    """Every pair of tokens that both views have, without dropout."""
    maps = []
    for view in given["views"]:
        out = net.encoder.transformer(**view, output_attentions=True)
        maps.append([layer.tolist() for layer in out.attentions])
    found = []
    for layer in layers:
        for row, length in enumerate(LENGTHS):
            for head in range(2):
                x, y = (
                    [math.log(one[layer][row][head][i][j]) for i in range(length) for j in range(length)]
                    for one in maps
                )
                found.append(-math.log(1 - statistics.correlation(x, y) ** 2) / 2)
    return -math.fsum(found) / len(found)


@pytest.mark.parametrize("layers", [None, [1]])
def test_beside_loops_whatever_the_padding(layers):
    net = module(AttentionInformation(layers=layers))
    (term,) = net.objective.regularisers
    for padding in (0, 3):
        contrast = contrast_of(net, batch(padding=padding))
        assert term.term(contrast).item() == pytest.approx(by_loops(net, batch(), layers or [0, 1]), rel=1e-4)


def test_drawn_entries_are_real_and_without_replacement(monkeypatch):
    seen = []
    net = module(AttentionInformation(entries=20))
    (term,) = net.objective.regularisers
    monkeypatch.setattr(term, "_information", lambda maps, place, there: seen.append((place, there)) or maps.sum() * 0)
    net.training_step(batch(padding=2))
    net.training_step(batch(padding=2))
    place, there = seen[0]
    assert there.sum(1).tolist() == [min(20, n * n) for n in LENGTHS]
    for row, length in enumerate(LENGTHS):
        own = place[row][there[row]].tolist()
        assert len(set(own)) == len(own)
        assert all(entry // 11 < length and entry % 11 < length for entry in own)
    assert not torch.equal(place, seen[2][0]), "drawn anew each step"


def test_scale_does_not_count_and_independent_maps_have_none_in_common():
    maps = torch.rand(2, 3, 60, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    term, place = AttentionInformation(), torch.arange(3600)[None]
    there = torch.ones_like(place, dtype=torch.bool)
    one = term._information(maps, place, there)
    assert one.item() < 2e-3
    scaled = maps * torch.tensor([0.1, 7.0]).double()[:, None, None, None]
    torch.testing.assert_close(term._information(scaled, place, there), one)
    dropped = torch.where(maps < 0.1, 0.0, maps)
    assert term._information(dropped, place, there).isfinite().all()
    small = maps[:, :1, :4, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: term._information(m, place[:, :16], there[:, :16]), small)


def test_the_encoder_learns_from_it_and_only_in_training():
    net = module(AttentionInformation(weight=1.0), dropout=0.1)
    (term,) = net.objective.regularisers
    contrast = contrast_of(net, batch())
    keys = [p for name, p in net.encoder.named_parameters() if "key.weight" in name]
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(term(contrast), keys))
    net.eval()
    assert term(contrast_of(net, batch())).item() == 0
    assert not net.encoder.transformer._forward_hooks, "nothing is left at the encoder"


def test_within_other_encoders():
    torch.manual_seed(0)
    net = module(AttentionInformation())
    plain = net.objective.regularisers[0].term(contrast_of(net, batch())).item()
    net.training_step(batch()).backward()
    net.on_after_backward()
    copy.deepcopy(net)  # nothing of the step is held
    for encoder in (Prompted(config=SMALL, prompts=2), DropoutRates(net.encoder, [None])):
        net.encoder = encoder
        found = net.objective.regularisers[0].term(contrast_of(net, batch())).item()
        assert found < 0
        assert (found == pytest.approx(plain)) == isinstance(encoder, DropoutRates)


def made():
    return AttentionInformation(weight=1.0, entries=20)


def test_two_processes_are_one():
    (whole, grad), parts = share(0, 1, made), run_ranks(2, share, made)
    assert sum(loss for loss, _ in parts) / 2 == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(sum(g for _, g in parts) / 2, grad, rtol=1e-4, atol=1e-5)


def test_misuse():
    for wrong in ({"entries": 2}, {"eps": 0.0}, {"layers": []}):
        with pytest.raises(ValueError, match="need layers"):
            AttentionInformation(**wrong)
    term = AttentionInformation(layers=[2])
    with pytest.raises(ValueError, match="has 2, from 0"):
        term.part(module(made()).encoder)
    with pytest.raises(ValueError, match="reads a TextEncoder"):
        made().part(MLPEncoder([4], 4))
    x = batch()
    net = module(made())
    with pytest.raises(ValueError, match=f"reads the {ROWS} anchors with what the encoder read at once"):
        net._score({"query": x["views"][0], "document": x["views"][1], "index": x["index"]})
    with pytest.raises(ValueError, match="there are 3: set n_views=2"):
        net._score({"views": [*x["views"], x["views"][0]], "index": x["index"]})
    assert gradients(net._score(x)[0][1].loss, net).isfinite().all()
