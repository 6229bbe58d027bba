"""Untrained networks as data."""

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.data import ArchitectureDataModule
from lightning_contrast.encoders import MLPEncoder
from lightning_contrast.functional.architectures import (
    ACTIVATIONS,
    Architecture,
    data_jacobian,
    draw_architectures,
    projected_jacobian,
)
from lightning_contrast.functional.retrieval import retrieval_figures
from tests.modules.test_contrastive import trainer


def test_jacobian_is_that_of_the_network():
    """By finite differences of the same network, written again."""
    one, x = Architecture((5, 5), "tanh", True), torch.randn(4, 3, dtype=torch.float64)
    g = torch.Generator().manual_seed(9)
    a, b = (torch.randn(i, 5, generator=g, dtype=torch.float64) / i**0.5 for i in (3, 5))
    head = torch.randn(5, generator=g, dtype=torch.float64) / 5**0.5

    def network(x):
        h = torch.tanh(x @ a)
        return (torch.tanh(h @ b) + h) @ head

    before = torch.get_rng_state()
    found = data_jacobian(one, x, seed=9)
    assert torch.equal(before, torch.get_rng_state())
    for j in range(3):
        move = 1e-6 * torch.eye(3, dtype=torch.float64)[j]
        torch.testing.assert_close(found[:, j], (network(x + move) - network(x - move)) / 2e-6, rtol=1e-6, atol=1e-7)
    vector = projected_jacobian(found)
    assert len(vector) == 6 + 4 + 3
    assert vector[0].item() == pytest.approx(torch.cosine_similarity(found[0], found[1], dim=0).item())
    assert vector[6].exp().item() == pytest.approx(found[0].norm().item())


def test_architectures_differ():
    found = draw_architectures(200, seed=3)
    assert len(set(found)) == 200
    assert found == draw_architectures(200, seed=3)
    assert {one.activation for one in found} == set(ACTIVATIONS)
    with pytest.raises(ValueError, match="from 1 to 1000"):
        draw_architectures(2000)


def first_choice(z):
    """Share of networks whose nearest other one has the same architecture; ``z: [A, S, D]``."""
    label, ids = torch.arange(len(z)).repeat_interleave(z.shape[1]), torch.arange(z.shape[0] * z.shape[1])
    flat = z.flatten(0, 1)
    figures = retrieval_figures(flat, flat, label, label, ["precision@1"], query_ids=ids, corpus_ids=ids)
    return figures["precision@1"].item()


def test_another_initialisation_of_an_unseen_architecture_is_retrieved():
    data = ArchitectureDataModule(architectures=160, seeds=4, samples=16, batch_size=60)
    data.setup()
    torch.manual_seed(0)
    module = ContrastiveModule(
        MLPEncoder((64,), 32, batch_norm=True), optimizer=lambda p: torch.optim.AdamW(p, lr=3e-3)
    )
    trainer(max_steps=40, limit_val_batches=0).fit(module, datamodule=data)
    held = data.val_set.features
    with torch.no_grad():
        found = first_choice(module.eval()(held.flatten(0, 1)).unflatten(0, held.shape[:2]))
    chance = 3 / (40 * 4 - 1)
    assert found > 8 * chance


def test_views_are_two_initialisations():
    data = ArchitectureDataModule(architectures=12, seeds=3, samples=4, batch_size=4)
    data.setup()
    one, two = next(iter(data.train_dataloader()))["views"]
    assert (one != two).any(1).all()
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.set_epoch(epoch)
        batch = next(iter(loader))
        for view in batch["views"]:
            place = (data.train_set.index[:, None] == batch["index"]).int().argmax(0)
            assert (data.train_set.features[place] == view[:, None]).all(2).any(1).all()
    with pytest.raises(ValueError, match="seeds must be at least 2, got 1"):
        ArchitectureDataModule(seeds=1)
