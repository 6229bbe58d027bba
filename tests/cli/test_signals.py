"""Stopped from outside: SIGTERM saves first, SIGKILL finds the last whole checkpoint; both resume to the bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_contrast.callbacks.whole_files import WholeFiles
from lightning_contrast.cli.runs import LAST


def start(tiny, root, tmp_path, *args):
    # Tells the step, so that the test stops in the middle of an epoch (5 batches) and not by the clock.
    (tmp_path / "tell.py").write_text(
        "import time\nimport lightning.pytorch as pl\n\n\nclass Tell(pl.Callback):\n"
        "    def on_train_batch_end(self, trainer, *args):\n"
        "        print('step', trainer.global_step, flush=True)\n        time.sleep(0.1)\n"
    )
    command = [sys.executable, "-m", "lightning_contrast", "fit", "--config", tiny, "--trainer.callbacks+=tell.Tell"]
    command += ["--trainer.default_root_dir", str(root), "--trainer.max_steps=13", *args]
    paths = [str(tmp_path), *filter(None, sys.path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def wait_for(process, words):
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(process.stderr.read()[-3000:])


def weights(run):
    return torch.load(run / LAST, weights_only=True)["state_dict"]


@pytest.fixture
def steady(tiny):
    """The schedule does not depend on how far one gets."""
    import yaml

    content = yaml.safe_load(Path(tiny).read_text())
    content["model"]["lr_scheduler"]["init_args"]["total_steps"] = 20
    content["trainer"]["callbacks"] = [{"class_path": "MemoryQueue", "init_args": {"size": 700}}]
    content["model"]["key_encoder"] = {"class_path": "Momentum", "init_args": {"momentum": 0.9}}
    Path(tiny).write_text(yaml.safe_dump(content))
    return tiny


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_bit(shell, steady, tmp_path, number):
    process = start(steady, shell.root, tmp_path)
    wait_for(process, "step 7")
    process.send_signal(number)
    assert process.wait(60) == 143
    (stopped,) = shell.runs()
    step = torch.load(stopped / LAST, weights_only=True)["global_step"]
    assert 7 <= step < 10, "in the middle of the second epoch"
    told = process.stderr.read()
    assert "saved" in told
    assert f"lightning-contrast fit --config {stopped / 'config.yaml'} --ckpt_path {stopped / LAST}\n" in told
    if number == signal.SIGINT:
        return  # one resumed run is enough
    shell.fit("--config", steady, "--trainer.max_steps=13", "--ckpt_path=last")
    resumed = shell.runs()[-1]
    shell.fit("--config", steady, "--trainer.max_steps=13")
    whole = shell.runs()[-1]
    a, b = weights(resumed), weights(whole)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_killed_after_a_checkpoint(shell, steady, tmp_path):
    process = start(steady, shell.root, tmp_path, "--last_checkpoint.every_n_steps=3")
    wait_for(process, "step 8")
    process.kill()
    process.wait(60)
    (stopped,) = shell.runs()
    assert torch.load(stopped / LAST, weights_only=True)["global_step"] in (6, 5)
    shell.fit("--config", steady, "--trainer.max_steps=13", "--ckpt_path=last")
    resumed = shell.runs()[-1]
    shell.fit("--config", steady, "--trainer.max_steps=13")
    a, b = weights(resumed), weights(shell.runs()[-1])
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_save_cut_short_leaves_the_previous_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    code = (
        "import os, sys, torch\n"
        "from lightning_contrast.callbacks.whole_files import WholeFiles\n"
        "io = WholeFiles()\n"
        "io.save_checkpoint({'step': torch.tensor(1)}, sys.argv[1])\n"
        "class Stop:\n"
        "    def __reduce__(self):\n"
        "        os.kill(os.getpid(), 9)\n"
        "io.save_checkpoint({'big': torch.zeros(100_000), 'stop': Stop()}, sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert WholeFiles().load_checkpoint(path)["step"] == 1


def test_an_error_does_not_replace_the_last_good_checkpoint(shell, tiny, tmp_path, monkeypatch):
    (tmp_path / "burst.py").write_text(
        "import lightning.pytorch as pl\n\n\nclass Burst(pl.Callback):\n"
        "    def on_train_batch_start(self, trainer, *args):\n"
        "        if trainer.global_step == 7:\n            raise RuntimeError('burst')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    shell.fit("--config", tiny, "--trainer.max_steps=9", "--trainer.callbacks=burst.Burst", code=1)
    assert "burst" in shell.err
    assert "Traceback" in shell.err, "somebody's bug keeps its traceback"
    (run,) = shell.runs()
    assert torch.load(run / LAST, weights_only=True)["global_step"] == 5
