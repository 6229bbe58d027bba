"""Gradient caching: encoding in chunks gives the gradient of the whole batch."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.heads import MLPHead
from lightning_contrast.modules import chunks
from lightning_contrast.modules.chunks import encode_in_chunks
from lightning_contrast.objectives import InfoNCE
from tests.modules.test_contrastive import loader, trainer, weights


def encoder(dropout=0.0, norm=None):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 32), *([norm] if norm else []), nn.Tanh(), nn.Dropout(dropout), nn.Linear(32, 16)
    ).double()


def step(module, batch):
    torch.manual_seed(1)
    loss = module.training_step(batch)
    loss.backward()
    return loss.detach(), [p.grad for p in module.parameters()]


@pytest.fixture
def batch():
    out = next(iter(loader(batch=37)))
    return {**out, "views": [v.double() for v in out["views"]]}


@pytest.mark.parametrize("size", [1, 10, 74, 1000])
@pytest.mark.parametrize("keep", [0, 2])
def test_chunks_give_the_gradient_of_the_whole_batch(batch, size, keep):
    loss, grads = step(ContrastiveModule(encoder(), InfoNCE(0.1)), batch)
    chunked, others = step(ContrastiveModule(encoder(), InfoNCE(0.1), chunk_size=size, keep_chunks=keep), batch)
    torch.testing.assert_close(chunked, loss, rtol=1e-12, atol=0)
    for a, b in zip(grads, others, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("keep", [0, 1])
def test_all_sides_of_pairs_are_one_node_whose_gradient_is_that_of_the_whole_batch(keep, monkeypatch):
    torch.manual_seed(3)
    sides = {name: torch.randn(rows, 64).double() for name, rows in (("anchor", 9), ("positive", 9), ("negative", 18))}
    calls, whole = [], chunks.encode_twice
    monkeypatch.setattr(chunks, "encode_twice", lambda *args: (calls.append(len(args[1])), whole(*args))[1])
    pairs = {**sides, "index": torch.arange(9)}
    loss, grads = step(ContrastiveModule(encoder(), InfoNCE(0.1)), pairs)
    chunked, others = step(ContrastiveModule(encoder(), InfoNCE(0.1), chunk_size=4, keep_chunks=keep), pairs)
    assert calls == [3 + 3 + 5 - keep]
    torch.testing.assert_close(chunked, loss, rtol=1e-12, atol=0)
    for a, b in zip(grads, others, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)


def test_a_tower_that_trains_nothing_beside_one_that_does():
    torch.manual_seed(3)
    pairs = {"anchor": torch.randn(9, 64).double(), "positive": torch.randn(9, 16).double(), "index": torch.arange(9)}
    towers = {"key_encoder": nn.Identity()}
    loss, grads = step(ContrastiveModule(encoder(), InfoNCE(0.1), **towers), pairs)
    chunked, others = step(ContrastiveModule(encoder(), InfoNCE(0.1), **towers, chunk_size=4), pairs)
    torch.testing.assert_close(chunked, loss, rtol=1e-12, atol=0)
    for a, b in zip(grads, others, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)


def test_dropout_repeats_its_masks_in_the_second_forward():
    torch.manual_seed(0)
    x = torch.randn(12, 64, dtype=torch.float64)
    net = encoder(dropout=0.5)

    def run(size):
        torch.manual_seed(5)
        net.zero_grad()
        z = encode_in_chunks(net, x, size, module=net) if size else torch.cat([net(x[i : i + 4]) for i in (0, 4, 8)])
        z.pow(3).sum().backward()
        return z.detach(), [p.grad.clone() for p in net.parameters()]

    (z, grads), (plain, expected) = run(4), run(0)
    torch.testing.assert_close(z, plain)
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("how", [{"sharded": True}, {"keep": 1}, {}])
def test_every_way_gives_the_same_gradient_with_dropout_frozen_and_unused_parameters(how):
    torch.manual_seed(0)
    x = torch.randn(12, 64, dtype=torch.float64)
    net = encoder(dropout=0.5)
    net[0].bias.requires_grad_(False)
    net.unused = nn.Linear(2, 2)
    run = lambda x: net[3](net[2](net[1](net[0](x))))  # noqa: E731
    torch.manual_seed(5)
    expected = torch.cat([run(x[i : i + 4]) for i in (0, 4, 8)])
    expected.pow(3).sum().backward()
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    assert grads[-1] is None
    net.zero_grad()
    torch.manual_seed(5)
    z = encode_in_chunks(run, x, 4, module=net, **how)
    drawn = torch.get_rng_state()
    z.pow(3).sum().backward()
    assert torch.equal(torch.get_rng_state(), drawn), "the second pass left a trace in the random state"
    torch.testing.assert_close(z, expected)
    for p, grad in zip(net.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_inputs_get_their_gradient_too():
    x = torch.randn(12, 64, dtype=torch.float64, requires_grad=True)
    net = encoder()
    encode_in_chunks(net, x, 4, module=net).pow(3).sum().backward()
    (expected,) = torch.autograd.grad(net(x).pow(3).sum(), x)
    torch.testing.assert_close(x.grad, expected)


def test_a_parameter_gets_its_gradient_once_and_whole():
    """What hooks and DDP's one reduction a step rely on."""
    net, seen = encoder(), []
    net[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    encode_in_chunks(net, torch.randn(12, 64, dtype=torch.float64), 4, module=net).pow(3).sum().backward()
    assert len(seen) == 1
    assert torch.equal(seen[0], net[0].weight.grad)


def test_precision_of_the_first_pass_holds_in_the_second():
    net = encoder().float()
    kinds = []
    net[0].register_forward_hook(lambda *args: kinds.append(args[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        z = encode_in_chunks(net, torch.randn(8, 64), 4, module=net)
    z.float().sum().backward()
    assert kinds == [torch.bfloat16] * 4


def test_an_encoder_that_draws_elsewhere_is_refused():
    generator = torch.Generator().manual_seed(0)
    net = encoder()
    noisy = lambda x: net(x) + torch.randn(len(x), 16, generator=generator)  # noqa: E731
    z = encode_in_chunks(noisy, torch.randn(8, 64, dtype=torch.float64), 4, module=net)
    with pytest.raises(RuntimeError, match="encoded twice gave different embeddings"):
        z.sum().backward()


def test_a_parameter_changed_before_backward_is_refused():
    net = encoder()
    z = encode_in_chunks(net, torch.randn(8, 64, dtype=torch.float64), 4, module=net)
    with torch.no_grad():
        net[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="changed between forward and backward"):
        z.sum().backward()


def test_a_second_derivative_is_refused():
    net = encoder()
    z = encode_in_chunks(net, torch.randn(8, 64, dtype=torch.float64), 4, module=net)
    (g,) = torch.autograd.grad(z.pow(3).sum(), net[0].weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.sum().backward()


@pytest.mark.parametrize("sharded", [False, True])
def test_running_statistics_are_counted_once(sharded):
    x = torch.randn(12, 64, dtype=torch.float64)
    nets = [encoder(norm=nn.BatchNorm1d(32)) for _ in range(2)]
    encode_in_chunks(nets[0], x, 4, module=nets[0], sharded=sharded).sum().backward()
    for i in (0, 4, 8):
        nets[1](x[i : i + 4])
    for a, b in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_batch_norm_is_told_at_set_up():
    module = ContrastiveModule(encoder(norm=nn.BatchNorm1d(32)).float(), InfoNCE(), chunk_size=8)
    with pytest.warns(UserWarning, match="statistics are taken over one chunk"):
        trainer(max_steps=1).fit(module, loader())


@pytest.mark.parametrize("extra", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}])
def test_chunks_under_the_trainer(extra):
    results = []
    for size in (None, 7):
        module = ContrastiveModule(
            encoder().float(), InfoNCE(0.2), head=MLPHead(hidden=(), output_dim=8), chunk_size=size
        )
        torch.manual_seed(0)
        trainer(max_steps=3, **extra).fit(module, loader(256))
        results.append(weights(module))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=2e-2 if extra.get("precision") else 2e-5)


PEAK = """
import resource, sys, torch
from torch import nn
from lightning_contrast.modules.chunks import encode_in_chunks
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.Tanh(), nn.Conv2d(32, 32, 3, padding=1), nn.Tanh(),
                    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 8))
x = torch.randn(int(sys.argv[1]), 1, 28, 28)
encode_in_chunks(net, x[:128], 32, module=net).sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encode_in_chunks(net, x, 32, module=net).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_batch():
    # Large blocks go back to the system at once, so that what is measured is what is held, not how malloc keeps it.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = lambda rows: float(subprocess.check_output([sys.executable, "-c", PEAK, str(rows)], env=env))  # noqa: E731
    # without chunks 512 rows hold 240 MiB; inputs apart (they exist before)
    assert run(512) - run(128) < 8
