"""``compare``: which items are scored, which runs are seeds of one another, and what does not fit together."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml

from lightning_contrast.cli.compare import compared, groups_of, of_file, of_run
from lightning_contrast.cli.runs import LAST


@pytest.fixture
def twins(package_run, tmp_path):
    """Four runs: one as it was trained and its twin by another seed; and two of other weights and settings."""
    folders = []
    for name, noise, lr in (("good", 0.0, 0.03), ("good", 0.01, 0.03), ("bad", 3.0, 0.5), ("bad", 4.0, 0.5)):
        folder = tmp_path / "runs" / name / str(len(folders))
        shutil.copytree(package_run, folder, ignore=shutil.ignore_patterns("*.npz"))
        held = torch.load(folder / LAST)
        generator = torch.Generator().manual_seed(len(folders))
        weight = held["state_dict"]["encoder.embedding.weight"]
        held["state_dict"]["encoder.embedding.weight"] = weight + noise * torch.randn(weight.shape, generator=generator)
        torch.save(held, folder / LAST)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["model"]["init_args"]["optimizer"]["init_args"]["lr"] = lr
        config["seed_everything"] = len(folders)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        folders.append(folder)
    return [str(folder) for folder in folders]


def test_runs_on_queries(shell, twins):
    assert groups_of(twins, "") == ["good", "good", "bad", "bad"]
    assert groups_of(twins[:2], "") == twins[:2]
    told = json.loads(shell("compare", *twins, "--json", "--split=val"))
    assert [(row["model"], row["seeds"]) for row in told["means"]] == [("good", 2), ("bad", 2)]
    good = [of_run(type(LAST)(folder) / LAST, [], "val", False) for folder in twins]
    by_hand = {
        name: torch.stack([one.values["mrr@10"] for one in part]).mean()
        for name, part in (("good", good[:2]), ("bad", good[2:]))
    }
    found = next(d for d in told["differences"] if d["figure"] == "mrr@10")
    assert found["mean"] == pytest.approx(float(by_hand["bad"] - by_hand["good"]))
    assert found["mean"] < 0
    assert found["low"] <= found["mean"] <= found["high"]
    assert found["over"] == "items and seeds"
    assert "differences to the first" in shell("compare", *twins[1:3], "--split=val")


def test_runs_on_labels(digits_run):
    items = of_run(digits_run / LAST, [], "test", False)
    from lightning_contrast.cli.evaluate import load
    from lightning_contrast.cli.protocol import compare as protocol

    rows, _, labels = protocol(*load(digits_run / LAST, []))
    assert len(items.index) == len(labels)
    for name in ("knn", "linear"):
        assert float(items.values[name].mean()) == pytest.approx(rows["this encoder"][name])
    told = compared({"a": [items], "b": [items]}, 0.95, 100, 0)
    assert all(d["mean"] == d["low"] == d["high"] == 0 for d in told["differences"])


def test_files(shell, tmp_path):
    rng = np.random.default_rng(0)
    label, index = np.arange(60) % 3, rng.permutation(60) + 7
    good = np.eye(3, 5)[label] + 0.1 * rng.normal(size=(60, 5))
    order = rng.permutation(60)
    np.savez(tmp_path / "good.npz", embedding=good, index=index, label=label)
    np.savez(tmp_path / "bad.npz", embedding=rng.normal(size=(60, 5))[order], index=index[order], label=label[order])
    both = [str(tmp_path / f"{name}.npz") for name in ("bad", "good")]
    told = json.loads(shell("compare", *both, "--json"))
    (first,) = [d for d in told["differences"] if d["figure"] == "precision@1"]
    assert first["low"] > 0.4
    assert first["model"] == both[1]
    # precision@1 by a plain loop
    z = good / np.linalg.norm(good, axis=1, keepdims=True)
    s = z @ z.T - 9 * np.eye(60)
    assert told["means"][1]["precision@1"] == pytest.approx((label[s.argmax(1)] == label).mean())
    assert of_file(both[0]).index.tolist() == sorted(index.tolist())

    wrong = str(tmp_path / "wrong.npz")
    np.savez(wrong, embedding=good, index=index, label=np.roll(label, 1))
    assert "disagree on the labels of 60 items" in shell.fails("compare", both[1], wrong)
    np.savez(wrong, embedding=good[:50], index=index[:50], label=label[:50])
    assert "60 and 50, of which 50 in common" in shell.fails("compare", both[1], wrong)
    np.savez(wrong, embedding=good, index=index)
    assert "no column 'label'" in shell.fails("compare", both[1], wrong)
    np.savez(wrong, embedding=good, index=index, label=label[:50])
    assert "label must have one entry a row, [60]; got [50]" in shell.fails("compare", both[1], wrong, code=1)
    assert "give two models" in shell.fails("compare", both[1])
    assert "--level 2.0" in shell.fails("compare", *both, "--level=2")


def test_a_run_beside_a_file(shell, digits_run, tmp_path):
    shell("embed", "--ckpt_path", str(digits_run), "--out", str(tmp_path / "same.npz"))
    told = json.loads(shell("compare", str(digits_run), "--json", str(tmp_path / "same.npz")))
    assert set(told["means"][0]) == {"model", "seeds", "precision@1", "r_precision", "map@r"}
    assert all(abs(d["mean"]) < 1e-3 for d in told["differences"])


def test_runs_on_other_data(shell, digits_run, package_run):
    assert "have different data" in shell.fails("compare", str(digits_run), str(package_run))
