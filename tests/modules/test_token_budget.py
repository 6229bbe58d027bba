"""Chunks by tokens: the gradient of the whole batch, whatever the lengths."""

from functools import partial

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.modules.chunks import encode_by_tokens
from lightning_contrast.modules.token_budget import token_chunks
from lightning_contrast.objectives import InfoNCE
from tests.ranks import run_ranks

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 50}


def texts(rows, seed, width=12):
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(1, width + 1, (rows,), generator=generator)
    mask = (torch.arange(width) < length[:, None]).long()
    return {"input_ids": torch.randint(5, 50, (rows, width), generator=generator) * mask, "attention_mask": mask}


@pytest.mark.parametrize("tokens", [1, 12, 30, 10_000])
def test_chunks_stay_within_the_budget_and_hold_every_row_once(tokens):
    inputs = {**texts(23, 0), "number": torch.arange(23)}
    chunks, place = token_chunks(inputs, tokens)
    for chunk in chunks:
        rows, width = chunk["input_ids"].shape
        assert rows * width <= tokens or rows == 1
        assert width == int(chunk["attention_mask"].sum(1).max())
    assert torch.cat([chunk["number"] for chunk in chunks])[place].tolist() == list(range(23))
    assert sum(int(chunk["input_ids"].sum()) for chunk in chunks) == int(inputs["input_ids"].sum())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_gradient_is_that_of_the_whole_batch(dtype, tolerance, pooling):
    batch = {"query": texts(9, 1), "document": texts(9, 2, 20), "negative": texts(18, 3), "index": torch.arange(9)}
    found = []
    for arguments in ({}, {"chunk_tokens": 24}, {"chunk_tokens": 40, "keep_chunks": 1}, {"chunk_tokens": 3}):
        torch.manual_seed(0)
        module = ContrastiveModule(
            TextEncoder(config=CONFIG, pooling=pooling, dropout=0.0), InfoNCE(0.05), **arguments
        ).to(dtype)
        loss = module.training_step(batch)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in module.parameters() if p.grad is not None)])
    for others in found[1:]:
        assert len(others) == len(found[0])
        largest = max(float(g.abs().max()) for g in found[0][1:])
        for wanted, other in zip(found[0], others, strict=True):
            assert float((wanted - other).abs().max()) <= tolerance * largest


def of_rank(rank, world, dtype, **arguments):
    """Loss and gradient of this process's share of 9 pairs with two negatives each: 5 and 4 on two."""
    own = lambda inputs: {name: value[rank::world] for name, value in inputs.items()}  # noqa: E731
    each = lambda inputs: {k: v.unflatten(0, (9, 2))[rank::world].flatten(0, 1) for k, v in inputs.items()}  # noqa: E731
    batch = {"query": own(texts(9, 1)), "document": own(texts(9, 2, 20)), "negative": each(texts(18, 3))}
    torch.manual_seed(0)
    encoder = TextEncoder(config=CONFIG, dropout=0.0)
    module = ContrastiveModule(encoder, InfoNCE(0.05, symmetric=True), **arguments).to(dtype)
    loss = module.training_step({**batch, "index": torch.arange(9)[rank::world]})
    loss.backward()
    return [loss.detach(), *(p.grad for p in module.parameters() if p.grad is not None)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_on_two_processes_with_uneven_shares(dtype, tolerance):
    """Plain on one, plain on two and by tokens on two: the mean over processes is the gradient of the whole batch."""
    whole = of_rank(0, 1, dtype)
    largest = max(float(g.abs().max()) for g in whole[1:])
    for arguments in ({}, {"chunk_tokens": 24}, {"chunk_tokens": 40, "keep_chunks": 1}, {"chunk_size": 2}):
        shares = run_ranks(2, partial(of_rank, **arguments), dtype)
        for wanted, *parts in zip(whole, *shares, strict=True):
            assert float((wanted - sum(parts) / 2).abs().max()) <= tolerance * largest, arguments


def test_misuse():
    encoder = TextEncoder(config=CONFIG)
    for wrong in ({"chunk_tokens": 0}, {"chunk_tokens": 8, "chunk_size": 2}):
        with pytest.raises(ValueError, match="a number of tokens from 1, in place of chunk_size"):
            ContrastiveModule(encoder, **wrong)
    with pytest.raises(ValueError, match="use chunk_size, which counts rows"):
        token_chunks(torch.zeros(3, 4), 8)
    with pytest.raises(ValueError, match="encode as many chunks each"):
        encode_by_tokens(encoder, texts(3, 0), 8, module=encoder, sharded=True)
