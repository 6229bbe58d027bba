"""What the terminal shows: the figures that matter, at a small cost, and nothing of the training depends on it."""

import re
import time
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from lightning_contrast import Contrast
from lightning_contrast.cli import progress
from lightning_contrast.cli.progress import Lines, Progress, progress_bar, unit_of
from lightning_contrast.cli.trainer import ContrastiveCLI

WORDS = ("loss ", "(chance 6.24", "positive ", "hardest negative ", "temperature 0.2", "negatives 510", "images/s ")


def lines(tiny, folder, *more):
    cli = ContrastiveCLI(
        args=["--config", tiny, "--trainer.enable_progress_bar=true", f"--trainer.default_root_dir={folder}", *more,
              "--trainer.enable_checkpointing=false"], run=False)  # fmt: skip
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli


def test_a_line_an_epoch_without_a_terminal(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    cli = lines(tiny, tmp_path, "--trainer.max_steps=10", "--trainer.max_epochs=2")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in told] == ["epoch 1 of 2, step 5", "epoch 2 of 2, step 10"]
    assert all(word in told[-1] for word in WORDS), told[-1]
    live = cli.trainer.progress_bar_callback
    assert isinstance(live, Lines)
    assert (live.steps, live.samples, live.unit) == (10, 2560, "images")
    assert 0 < live.seconds < 60


def test_an_epoch_shorter_than_a_look_has_figures_of_its_own(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 1e9)
    lines(tiny, tmp_path, "--trainer.max_steps=10", "--trainer.max_epochs=2", "--trainer.callbacks=GeometryMonitor")
    told = [re.search(r"loss \S+", line)[0] for line in capsys.readouterr().out.splitlines() if "epoch " in line]
    assert len(set(told)) == 2, told


@pytest.mark.parametrize(("width", "columns"), [(200, 5), (100, 4), (60, 3)])
def test_what_the_figures_need_more_gives_way_on_a_narrow_terminal(monkeypatch, width, columns):
    monkeypatch.setenv("COLUMNS", str(width))
    trainer = SimpleNamespace(state=SimpleNamespace(fn="fit"), max_epochs=2, current_epoch=1)
    bar = Progress()
    bar._trainer = trainer
    assert len(bar.configure_columns(trainer)) == columns
    assert bar._get_train_description(1) == "Epoch 2 of 2"
    trainer.max_epochs = -1
    assert bar._get_train_description(1).strip() == "Epoch 2"
    trainer.state.fn = "validate"
    assert len(bar.configure_columns(trainer)) == 5


def test_training_does_not_depend_on_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    ends = [
        torch.cat([p.detach().flatten() for p in lines(tiny, tmp_path, f"--trainer.enable_progress_bar={on}").model.parameters()])
        for on in ("true", "false")
    ]  # fmt: skip
    assert torch.equal(*ends)


def test_a_bar_where_there_is_a_terminal(monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    bar = progress_bar()
    assert isinstance(bar, Progress)
    assert not bar.is_disabled
    bar.disable()
    assert bar.is_disabled
    monkeypatch.setattr(Console, "is_terminal", False)
    assert type(progress_bar()) is Lines


def test_a_look_is_cheap_and_rare():
    """Less than 30 ms of CPU, at most every two seconds, also beside a large queue."""
    from lightning_contrast import objectives
    from lightning_contrast.contrast import Candidates, ready

    contrast = Contrast.from_views(torch.randn(2, 512, 128))
    contrast = contrast.append(Candidates(torch.randn(16384, 128), name="queue", where="replicated"))
    objective = objectives.InfoNCE(0.1)
    contrast = ready(objective.prepare(contrast))
    live = Lines()
    trainer, module = SimpleNamespace(callback_metrics={}), SimpleNamespace(objective=objective)
    live.on_contrast_end(trainer, module, contrast, torch.tensor(9.0))
    live.shown, before = {}, time.process_time()
    live.on_contrast_end(trainer, module, contrast, torch.tensor(9.0))
    assert time.process_time() - before < 0.1
    assert live.shown["loss"] == "9 (chance 9.76)"
    assert live.shown["negatives"] == "17,406"
    live.on_contrast_end(trainer, module, contrast, torch.tensor(5.0))
    assert live.shown["loss"].startswith("9 "), "not before its time"


@pytest.mark.parametrize(
    ("batch", "unit"),
    [
        ({"views": [torch.zeros(2, 1, 8, 8)] * 2}, "images"),
        ({"query": ["a", "b"], "document": ["c", "d"]}, "texts"),
        ({"query": torch.zeros(2, 5, dtype=torch.int64), "document": torch.zeros(2, 5, dtype=torch.int64)}, "texts"),
        ({"anchor": torch.zeros(2, 5), "positive": torch.zeros(2, 5)}, "samples"),
    ],
)
def test_units(batch, unit):
    assert unit_of(batch) == unit
