"""Pictures reach loggers that take them, under stable names, and leave no trace in the training."""

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_contrast.callbacks import EmbeddingSnapshots, ScoreHistograms
from lightning_contrast.callbacks.pictures import principal
from tests.callbacks.kit import fit, simclr
from tests.modules.test_contrastive import loader, weights

pytest.importorskip("matplotlib")


class Board(CSVLogger):
    """As TensorBoard's: figures are for the experiment."""

    def __init__(self, folder):
        super().__init__(folder)
        self.taken = []
        self.experiment.add_figure = self.add

    def add(self, tag, figure, global_step=None, close=True):
        self.taken.append((tag, global_step, [len(axes.patches) + len(axes.collections) for axes in figure.axes]))


class Images(CSVLogger):
    """As W&B's: arrays are for the logger."""

    def __init__(self, folder):
        super().__init__(folder)
        self.taken = []

    def log_image(self, key, images, step=None):
        self.taken += [(key, step, image) for image in images]


def test_pictures_reach_the_loggers(tmp_path):
    board, images, deaf = Board(tmp_path / "a"), Images(tmp_path / "b"), CSVLogger(tmp_path / "c")
    callbacks = [ScoreHistograms(), EmbeddingSnapshots(sample=10)]
    seen = simclr()
    fit(seen, callbacks, 8, val=loader(40), logger=[board, images, deaf], default_root_dir=tmp_path)
    wanted = {("embedding/map", 4), ("embedding/map", 8), ("scores/histogram", 4), ("scores/histogram", 8)}
    assert {(name, step) for name, step, _ in board.taken} == wanted == {(name, step) for name, step, _ in images.taken}
    assert all(drawn in ([2], [1]) for _, _, drawn in board.taken)  # two histograms, or one cloud
    for _, _, image in images.taken:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert image.std() > 5  # not empty
    blind = simclr()
    fit(blind, steps=8, val=loader(40), logger=[deaf], default_root_dir=tmp_path)
    assert torch.equal(weights(seen), weights(blind))


def test_principal_components_by_hand():
    z = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0]])
    found = principal(z).abs()
    torch.testing.assert_close(found, torch.tensor([[3.0, 0], [3, 0], [0, 1], [0, 1]]))
    assert principal(z[:1]).tolist() == [[0, 0]]
    assert principal(z[:0]).shape == (0, 2)
