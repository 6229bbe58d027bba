"""Runs: folders, last checkpoints, resuming, what the other commands make of them."""

import csv
import json
import warnings

import numpy as np
import pytest
import torch
import yaml

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.runs import LAST


def weights(run):
    return torch.load(run / LAST, weights_only=True)["state_dict"]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_folder_has_everything(shell, tiny):
    told = shell.fit("--config", tiny)
    (run,) = shell.runs("tiny")
    assert str(run) in told
    assert (run / LAST).is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["name"] == "tiny"
    with (run / "metrics.csv").open() as file:
        assert float(next(csv.DictReader(file))["train/loss"]) > 0
    held = torch.load(run / LAST, weights_only=True)
    assert held["global_step"] == 3
    module = ContrastiveModule.load_from_checkpoint(run / LAST)
    assert equal(module.state_dict(), held["state_dict"])
    assert not [p for p in run.rglob("*") if ".part" in p.name]


@pytest.mark.parametrize("validation", [0, 1])
@pytest.mark.parametrize("steps", [1, 4, 5, 7])
def test_the_last_step_is_kept(shell, tiny, steps, validation):
    """An epoch has 5 batches."""
    shell.fit("--config", tiny, f"--trainer.max_steps={steps}", f"--trainer.limit_val_batches={validation}")
    assert torch.load(shell.runs()[-1] / LAST, weights_only=True)["global_step"] == steps


def test_resuming_is_the_uninterrupted_run(shell, tiny):
    shell.fit("--config", tiny, "--trainer.max_steps=8", "--model.lr_scheduler.total_steps=8")
    whole = weights(shell.runs()[-1])
    shell.fit("--config", tiny, "--trainer.max_steps=3", "--model.lr_scheduler.total_steps=8")
    stopped = shell.runs()[-1]
    shell.fit(
        "--config", tiny, "--trainer.max_steps=8", "--model.lr_scheduler.total_steps=8", "--ckpt_path", "last"
    )  # fmt: skip
    resumed = shell.runs()[-1]
    assert len(shell.runs("tiny")) == 3, "a resumed run has a folder beside the one it goes on from"
    assert yaml.safe_load((resumed / "config.yaml").read_text())["ckpt_path"] == str(stopped / LAST)
    assert not equal(whole, weights(stopped))
    assert equal(whole, weights(resumed))


def test_last_without_runs_fails(shell, tiny):
    told = shell.fails("fit", "--config", tiny, "--ckpt_path", "last", "--trainer.default_root_dir", str(shell.root))
    assert "no run to go on with" in told
    assert str(shell.root) in told
    assert not shell.runs()


def test_last_of_another_name_is_not_taken(shell, tiny):
    shell.fit("--config", tiny, "--trainer.max_steps=1", "--name=other")
    told = shell.fails("fit", "--config", tiny, "--ckpt_path", "last", "--trainer.default_root_dir", str(shell.root))
    assert "runs of other" in told


def test_absent_checkpoint(shell, tiny):
    assert "no such file" in shell.fails("test", "--config", tiny, "--ckpt_path=absent.ckpt")


def test_what_a_checkpoint_overrides_is_told(shell, tiny):
    shell.fit("--config", tiny, "--model.objective.temperature=0.7")
    resume = ("--ckpt_path=last", "--trainer.max_steps=4", "--trainer.default_root_dir", str(shell.root))
    told = shell.fails("fit", "--config", tiny, *resume, "--model.objective.temperature=0.33")
    assert "model.objective.temperature: 0.7 from the checkpoint, not 0.33" in told
    assert "--model.init_from" in told
    with pytest.warns(UserWarning, match="0.7 from the checkpoint, not 0.2"):
        shell("fit", "--config", tiny, *resume)
    path = shell.runs()[-1] / LAST
    made = torch.load(path, weights_only=True)["hyper_parameters"]
    assert made["objective"]["init_args"]["temperature"] == 0.7


def test_checkpoints_load_without_their_callbacks(shell, tiny):
    shell.fit("--config", tiny, "--trainer.callbacks=MemoryQueue", "--trainer.callbacks.size=64")
    run = shell.runs()[-1]
    assert any("MemoryQueue" in k or "queue" in k for k in torch.load(run / LAST, weights_only=True)["callbacks"])
    ContrastiveModule.load_from_checkpoint(run / LAST)
    with pytest.warns(UserWarning, match="add the following callbacks.*MemoryQueue"):
        shell("test", "--config", tiny, "--ckpt_path", str(run / LAST))


def test_predict_writes_embeddings_with_their_index(shell, tiny, tmp_path):
    shell.fit("--config", tiny)
    run = shell.runs()[-1]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*add the following callbacks")  # a run's own settings have all of them
        shell("predict", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / LAST))
    with np.load(run / "embeddings.npz") as file:
        found = dict(file)
    assert found["embedding"].dtype == np.float32
    assert (np.diff(found["index"]) > 0).all(), "in order, each once"
    assert len(found["index"]) == 359
    assert found["label"].shape == found["index"].shape
    module = ContrastiveModule.load_from_checkpoint(run / LAST).eval()
    from lightning_contrast.data.digits import DigitsDataModule

    data = DigitsDataModule(batch_size=256)
    data.setup()
    batch = next(iter(data.predict_dataloader()))
    with torch.no_grad():
        expected = module(batch["input"])
    order = {int(index): row for row, index in enumerate(found["index"])}
    rows = [order[int(index)] for index in batch["index"]]
    assert torch.allclose(torch.from_numpy(found["embedding"][rows]), expected, atol=1e-5)
    assert (found["label"][rows] == batch["label"].numpy()).all()
    shell("predict", "--config", tiny, "--ckpt_path", str(run / LAST), "--output", str(tmp_path / "a" / "b.npz"))
    assert (tmp_path / "a" / "b.npz").is_file()
    assert "must end in .npz" in shell.fails(
        "predict", "--config", tiny, "--ckpt_path", str(run / LAST), "--output=x.txt", code=1
    )


def test_without_a_checkpoint_it_is_told(shell, tiny, tmp_path):
    with pytest.warns(UserWarning, match="not trained"):
        shell("predict", "--config", tiny, "--output", str(tmp_path / "z.npz"))


def test_evaluate_as_json_and_as_a_table(shell, tiny):
    shell.fit("--config", tiny)
    out = json.loads(shell("evaluate", "--ckpt_path=last", "--root", str(shell.root), "--json"))
    assert set(out["results"]) == {"this encoder", "untrained encoder", "raw pixels", "chance"}
    assert out["results"]["raw pixels"]["knn"] > 0.9
    assert out["results"]["chance"]["knn"] < 0.2
    again = json.loads(shell("evaluate", "--ckpt_path=last", "--root", str(shell.root), "--json"))
    assert again == out
    path = str(shell.runs()[-1] / LAST)
    assert "raw pixels" in shell("evaluate", "--ckpt_path", path, "--split=val")


def test_fast_dev_run_leaves_nothing(shell, tiny):
    shell.fit("--config", tiny, "--trainer.fast_dev_run=true")
    assert not shell.runs()


def test_loggers_of_the_user_come_beside(shell, tiny, tmp_path):
    shell.fit("--config", tiny, "--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'mine'}")
    assert (shell.runs()[-1] / "metrics.csv").is_file()
    assert (tmp_path / "mine").is_dir()
    shell.fit("--config", tiny, "--trainer.logger=false")
    assert (shell.runs()[-1] / LAST).is_file()
    assert not (shell.runs()[-1] / "metrics.csv").exists()


def test_two_runs_in_one_second_have_two_folders(tmp_path):
    from lightning_contrast.cli.runs import new_run

    assert len({new_run(tmp_path, "a") for _ in range(3)}) == 3


@pytest.mark.parametrize("recipe", ["simclr", "moco-v2", "supcon"])
def test_recipes_train(shell, recipe):
    shell.fit("--config", recipe, "--data=DigitsDataModule", "--data.batch_size=64", "--trainer.max_steps=3")
    assert torch.load(shell.runs(recipe)[-1] / LAST, weights_only=True)["global_step"] == 3


def test_two_processes_train_predict_and_agree(shell, tiny):
    two = ("--trainer.strategy=ddp_fork", "--trainer.devices=2", "--trainer.accelerator=cpu")
    shell.fit("--config", tiny, *two)
    run = shell.runs()[-1]
    assert torch.load(run / LAST, weights_only=True)["global_step"] == 3
    assert (run / "metrics.csv").is_file()
    shell("predict", "--config", tiny, "--ckpt_path", str(run / LAST), *two)
    with np.load(run / "embeddings.npz") as file:
        assert len(file["index"]) == 359, "2 * 180 - 1: the sampler repeats one"
        assert (np.diff(file["index"]) > 0).all()
    held = ["checkpoints", "config.yaml", "embeddings.npz", "metrics.csv", "run.json", "scores.json", "snapshots.npz"]
    assert sorted(p.name for p in run.iterdir()) == held


def test_a_module_from_the_command_line_can_be_copied(shell, tiny):
    """Its factories of optimizers must not hold the Trainer. And the table of parts shows no made-up figure."""
    told = shell.fit(
        "--config", tiny, "--trainer.max_steps=1", "--trainer.callbacks+=tests.cli.own.Copies",
        "--trainer.enable_model_summary=true",
    )  # fmt: skip
    assert "SmallCNN" in told
    assert "of them trained" in told
    assert "flop" not in told.lower()
