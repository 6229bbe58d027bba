"""SIGKILL at any moment of a run with queue and refresh: nothing is lost, and what follows is the run nobody killed."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from lightning_contrast.cli import trainer  # noqa: F401 - imported once, not by every child
from lightning_contrast.cli.classes import import_public_classes
from lightning_contrast.cli.main import main
from lightning_contrast.cli.runs import LAST
from lightning_contrast.mining import read_mined

import_public_classes()
TELL = """
import os
import lightning.pytorch as pl


class Tell(pl.Callback):
    def on_train_batch_end(self, *args):
        os.write(int(os.environ["TELL"]), b"x")
"""


@pytest.fixture
def config(tiny, tmp_path, monkeypatch):
    """Saves every second step, refreshes every third, whatever it costs."""
    (tmp_path / "tell.py").write_text(TELL)
    monkeypatch.syspath_prepend(str(tmp_path))
    content = yaml.safe_load(Path(tiny).read_text())
    content["model"]["lr_scheduler"]["init_args"]["total_steps"] = 400
    content["model"]["key_encoder"] = {"class_path": "Momentum", "init_args": {"momentum": 0.9}}
    content["last_checkpoint"] = {"every_n_steps": 2}
    refresh = {"num_negatives": 2, "every_n_steps": 3, "same_label": True, "take_up_after": 2}
    refresh["path"] = str(tmp_path / "mined.npz")
    content["trainer"]["callbacks"] = [
        {"class_path": "MemoryQueue", "init_args": {"size": 700}},
        {"class_path": "HardNegativeRefresh", "init_args": refresh},
        {"class_path": "tell.Tell"},
    ]
    Path(tiny).write_text(yaml.safe_dump(content))
    return tiny


def start(config, root, *args):
    """A fit in a child of its own; its process, and a pipe that says a byte a step."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.environ["TELL"] = str(tell)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        error = os.open(root.parent / "stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(error, 2)
        os._exit(main(["fit", "--config", config, "--trainer.default_root_dir", str(root), *args]))
    os.close(tell)
    return child, told


def killed(config, root, steps, pause, *args):
    """Killed ``pause`` seconds after so many steps."""
    child, told = start(config, root, *args)
    for _ in range(steps):
        if not os.read(told, 1):
            os.waitpid(child, 0)
            raise AssertionError((root.parent / "stderr.txt").read_text()[-3000:])
    time.sleep(pause)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(told)
    assert os.WIFSIGNALED(status), "it was killed, it did not end by itself"


def finished(config, root, *args):
    child, told = start(config, root, *args)
    while os.read(told, 4096):
        pass
    os.close(told)
    assert os.waitpid(child, 0)[1] == 0, (root.parent / "stderr.txt").read_text()[-3000:]
    newest = max(root.glob(f"*/*/{LAST}"), key=lambda p: p.stat().st_mtime_ns)
    return torch.load(newest, weights_only=True)


def kill_and_resume(config, root, kills, seed, *args):
    """Checks after every kill; returns the state at the end and how far it had come by then."""
    draw, reached, mined = random.Random(seed), 0, None
    for _ in range(kills):
        resume = ["--ckpt_path=last"] if list(root.glob(f"*/*/{LAST}")) else []
        killed(config, root, draw.randint(1, 9), draw.random() * 0.03, "--trainer.max_steps=399", *args, *resume)
        saved = sorted(root.glob(f"*/*/{LAST}"), key=lambda p: p.stat().st_mtime_ns)
        states = [torch.load(path, weights_only=True) for path in saved]
        assert all("HardNegativeRefresh" in str(sorted(state["callbacks"])) for state in states)
        if saved:
            assert states[-1]["global_step"] >= reached, "no checkpoint was lost"
            reached = states[-1]["global_step"]
        path = root.parent / "mined.npz"
        if mined is not None or path.exists():
            mined = read_mined(path)
            assert mined.negative.shape == (1294, 2)
    assert mined is not None
    return finished(config, root, f"--trainer.max_steps={reached + 7}", *args, "--ckpt_path=last"), reached + 7


def assert_as_if_nobody_had(config, tmp_path, kills, seed, *args):
    state, steps = kill_and_resume(config, tmp_path / "killed", kills, seed, *args)
    whole = finished(config, tmp_path / "whole", f"--trainer.max_steps={steps}", *args)
    assert state["global_step"] == whole["global_step"] == steps
    for name, value in whole["state_dict"].items():
        assert torch.equal(state["state_dict"][name], value), name
    refreshes = [next(v for k, v in s["callbacks"].items() if k.startswith("HardNeg")) for s in (state, whole)]
    assert torch.equal(refreshes[0]["table"], refreshes[1]["table"])


def background(config):
    content = yaml.safe_load(Path(config).read_text())
    content["trainer"]["callbacks"][1]["init_args"]["asynchronous"] = True
    Path(config).write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("asynchronous", [pytest.param(False, marks=pytest.mark.slow), True])
def test_killed_three_times(config, tmp_path, asynchronous):
    if asynchronous:
        background(config)
    assert_as_if_nobody_had(config, tmp_path, 3, seed=int(asynchronous))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_killed_twenty_times(config, tmp_path, asynchronous):
    if asynchronous:
        background(config)
    assert_as_if_nobody_had(config, tmp_path, 20, seed=10 + int(asynchronous))
