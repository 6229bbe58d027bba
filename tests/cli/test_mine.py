"""``mine``: end to end on the digits, beside the embeddings that the module gives."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.cli.evaluate import opened
from lightning_contrast.mining import read_mined


@pytest.fixture
def trained(shell, tiny):
    shell.fit("--config", tiny)
    (run,) = shell.runs()
    return run / "checkpoints" / "last.ckpt"


def embeddings(path):
    """Of the training split, by the sample's index."""
    cli = opened(path, [])
    module = cli.model.eval()
    (batch,) = [
        cli.datamodule.bank_dataloader().collate_fn(
            cli.datamodule.train_set.__getitems__(range(len(cli.datamodule.train_set)))
        )
    ]
    with torch.no_grad():
        return F.normalize(module.project(batch["input"]), dim=1), batch["index"].numpy(), batch["label"]


def test_the_file_holds_the_nearest_others(shell, trained, tmp_path):
    out = tmp_path / "deep" / "mined.npz"
    told = shell("mine", "--ckpt_path", str(trained), "--out", str(out), "--num_negatives=3", "--same_label")
    assert "same_label" in told
    assert "mined" in told
    found = read_mined(out)
    z, index, label = embeddings(trained)
    s = z @ z.T
    torch.testing.assert_close(torch.from_numpy(found.positive_score), torch.ones(len(z)))
    place = {int(i): row for row, i in enumerate(index)}
    assert np.array_equal(found.query, index)
    assert np.array_equal(found.positive, index)
    s = s.masked_fill(label[:, None] == label, -2)
    torch.testing.assert_close(torch.from_numpy(found.negative_score), s.topk(3, dim=1).values, atol=1e-5, rtol=0)
    rows = torch.tensor([[place[int(i)] for i in line] for line in found.negative])
    assert (label[rows] != label[:, None]).all()
    torch.testing.assert_close(s.gather(1, rows), s.topk(3, dim=1).values, atol=1e-5, rtol=0)


def test_rules_act_as_typed_and_are_counted(shell, trained, tmp_path):
    common = ("mine", "--ckpt_path", str(trained), "--json", "--num_negatives=2", "--range_max=20")
    results, tables = [], []
    rules = ["--quantile=0.5", "--range_min=3"]
    for number, order in enumerate((rules, rules[::-1])):
        out = tmp_path / f"{number}.npz"
        results.append(json.loads(shell(*common, "--out", str(out), *order)))
        tables.append(read_mined(out))
    assert results[0]["queries"] == len(tables[0].query)
    (first, second) = (result["results"] for result in results)
    assert list(first)[2:4] == ["removed/quantile", "removed/range_min"]
    assert list(second)[2:4] == ["removed/range_min", "removed/quantile"]
    assert first["removed/quantile"] == pytest.approx(10, abs=0.01)  # equal scores stay together
    assert first["removed/range_min"] == second["removed/range_min"] == 3
    assert second["removed/quantile"] == pytest.approx(8, abs=0.01)
    assert (tables[0].negative_score <= tables[1].negative_score).all()  # the 14th and 15th, the 12th and 13th
    assert not np.array_equal(tables[0].negative, tables[1].negative)


def test_draws_are_seeded(shell, trained, tmp_path):
    tables = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{number}.npz"
        shell("mine", "--ckpt_path", str(trained), "--out", str(out), "--sampling_strategy=random", f"--seed={seed}")
        tables.append(read_mined(out).negative)
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


def test_by_the_vectors_of_another(shell, trained, tmp_path):
    _, index, _ = embeddings(trained)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(index), 5)).astype(np.float32)
    np.savez(tmp_path / "teacher.npz", embedding=vectors, index=index)
    out = tmp_path / "mined.npz"
    arguments = ["mine", "--ckpt_path", str(trained), "--out", str(out), "--max_score=0.1", "--teacher"]
    shell(*arguments, str(tmp_path / "teacher.npz"))
    found = read_mined(out)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    place = {int(i): row for row, i in enumerate(index)}
    for query, line in zip(range(50), found.negative, strict=False):
        for i in line[line >= 0]:
            assert unit[query] @ unit[place[int(i)]] <= 0.1 + 1e-6
    np.savez(tmp_path / "few.npz", embedding=vectors[:9], index=index[:9])
    assert "has no vector for index" in shell.fails(*arguments, str(tmp_path / "few.npz"), code=1)
    assert "there is no such file" in shell.fails(*arguments, str(tmp_path / "none.npz"))


def test_parquet(shell, trained, tmp_path):
    pytest.importorskip("pyarrow")
    for end in ("npz", "parquet"):
        shell("mine", "--ckpt_path", str(trained), "--out", str(tmp_path / f"mined.{end}"))
    for a, b in zip(read_mined(tmp_path / "mined.npz"), read_mined(tmp_path / "mined.parquet"), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--out=a.csv"], 1, "must end in .npz, or .parquet"),
        (["--num_negatives=0"], 2, "num_negatives=0"),
        (["--relative_margin=2"], 2, "relative_margin=2.0"),
        (["--range_max=9000", "--num_negatives=9000"], 1, "there are only 1294 samples"),
        (["--weights=teacher"], 1, "needs a teacher"),
        (["--ckpt_path=absent.ckpt"], 2, "no such file"),
        (["--same_key=document"], 1, "the samples have no 'document'"),
    ],
)
def test_misuse(shell, trained, tmp_path, args, code, message):
    out = tmp_path / "mined.npz"
    said = shell.fails("mine", "--ckpt_path", str(trained), f"--out={out}", *args, code=code)
    assert message in said
    assert not out.exists()


def test_extras_that_are_not_there(shell, trained, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    common = ("mine", "--ckpt_path", str(trained))
    said = shell.fails(*common, "--out", str(tmp_path / "a.npz"), "--search=approximate")
    assert 'pip install "lightning-contrast[faiss]"' in said
    said = shell.fails(*common, "--out", str(tmp_path / "a.parquet"), code=1)
    assert 'pip install "lightning-contrast[parquet]"' in said
