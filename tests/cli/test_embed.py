"""``embed``: what is in the file, on one and two processes, and what is refused."""

import json

import numpy as np
import pytest
import torch

from lightning_contrast.cli.evaluate import opened
from lightning_contrast.cli.runs import LAST
from lightning_contrast.data.embedding_table import read_embeddings


def test_documents_with_ids_and_texts(shell, package_run, tmp_path):
    for end in ("npz", "parquet"):
        if end == "parquet":
            pytest.importorskip("pyarrow")
        shell("embed", "--ckpt_path", str(package_run), "--out", str(tmp_path / f"deep/docs.{end}"))
    data = opened(package_run / LAST, []).datamodule
    module = opened(package_run / LAST, []).model
    a = read_embeddings(tmp_path / "deep" / "docs.npz")
    assert a.text[0] == "calendar-viewer: calendar viewer"
    assert np.array_equal(a.columns["document_id"], data.corpus.payload["document_id"].numpy())
    with torch.no_grad():
        wanted = module.embed(data.corpus.document)
    torch.testing.assert_close(torch.from_numpy(a.embedding), wanted)
    assert np.array_equal(a.index, data.corpus.index.numpy())
    b = read_embeddings(tmp_path / "deep" / "docs.parquet")
    assert np.array_equal(a.embedding, b.embedding)
    assert list(a.text) == list(b.text)
    assert {**a.made_by} == {**b.made_by}
    assert a.made_by["side"] == "document"
    assert len(list((tmp_path / "deep").iterdir())) == 2


def test_splits_sides_and_spaces(shell, digits_run, tmp_path):
    out = tmp_path / "z.npz"
    common = ("embed", "--ckpt_path", str(digits_run / LAST), "--out", str(out))
    cli = opened(digits_run / LAST, [])
    shell(*common, "--split=val")
    assert len(read_embeddings(out)) == len(cli.datamodule.val_set)
    batch = next(iter(cli.datamodule.predict_dataloader()))
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(cli.model.eval().project(batch["input"]), dim=1)
    shell(*common, "--space=embedding", "--normalize")
    found = read_embeddings(out)
    torch.testing.assert_close(torch.from_numpy(found.embedding[: len(wanted)]), wanted)
    assert np.array_equal(found.columns["label"][: len(wanted)], batch["label"].numpy())
    assert "has no corpus_dataloader" in shell.fails(*common, "--split=corpus")


def test_two_processes_write_what_one_does(shell, package_run, tmp_path):
    common = ("embed", "--ckpt_path", str(package_run))
    shell(*common, "--out", str(tmp_path / "one.npz"))
    shell(*common, "--out", str(tmp_path / "two.npz"), "--trainer.devices=2", "--trainer.strategy=ddp_fork")
    one, two = (read_embeddings(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert np.array_equal(one.embedding, two.embedding)
    assert np.array_equal(one.index, two.index)
    assert list(one.text) == list(two.text)
    assert {p.name for p in tmp_path.glob("*.npz")} == {"one.npz", "two.npz"}
    assert not list(tmp_path.glob(".*.npz"))


def test_what_cannot_be_embedded(shell, package_run, digits_run, tmp_path, monkeypatch):
    out = tmp_path / "z.npz"
    common = ("embed", "--ckpt_path", str(package_run), "--out")
    assert "must end in .npz, or .parquet" in shell.fails(*common, "z.csv", code=1)
    assert "no checkpoints/last.ckpt" in shell.fails("embed", "--ckpt_path", str(tmp_path), "--out", str(out))
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes((package_run / LAST).read_bytes()[:5000])
    assert "truncated" in shell.fails("embed", "--ckpt_path", str(cut), "--out", str(out))
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"model": torch.zeros(2)}, foreign)
    said = shell.fails("embed", "--ckpt_path", str(foreign), "--out", str(out))
    assert "no checkpoint of Lightning" in said
    assert "'model'" in said
    other = {**torch.load(package_run / LAST), "hyper_parameters": {}}
    other["state_dict"] = {f"x.{k}": v for k, v in other["state_dict"].items()}
    torch.save(other, foreign)
    config = ("--config", str(package_run / "config.yaml"))
    assert "do not fit" in shell.fails("embed", "--ckpt_path", str(foreign), "--out", str(out), *config)
    from lightning_contrast.encoders import BagOfWords

    monkeypatch.setattr(BagOfWords, "forward", lambda self, x: torch.full((len(x), 4), float("nan")))
    said = shell.fails(*common, str(out), code=1)
    assert "110 of 110 embeddings are not finite (index 0, 1, 2, 3, 4, ...)" in said
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_samples_that_share_an_id(shell, package_run, tmp_path, monkeypatch):
    from lightning_contrast.data import PackageSearchDataModule

    setup = PackageSearchDataModule.setup

    def doubled(self, stage=None):
        setup(self, stage)
        self.corpus.index = self.corpus.index.clone()
        self.corpus.index[3] = 7

    monkeypatch.setattr(PackageSearchDataModule, "setup", doubled)
    said = shell.fails("embed", "--ckpt_path", str(package_run), "--out", str(tmp_path / "z.npz"), code=1)
    assert "1 ids occur more than once in index (7)" in said
    assert not list(tmp_path.iterdir())


def test_a_search_that_a_person_tries_first(shell, package_run):
    told = shell("search", "--ckpt_path", str(package_run), "--query", "chess [red]editor", "--k=3")
    assert "chess-editor: chess editor" in told
    assert "[red]" in told  # as typed
    made = package_run / "corpus.npz"
    stamp = made.stat().st_mtime_ns
    answer = json.loads(
        shell("search", "--ckpt_path", str(package_run), "--query=chess editor", "--item=4", "--k=2", "--json")
    )
    assert made.stat().st_mtime_ns == stamp  # made once
    assert answer["documents"] == 110
    by_text, by_item = answer["results"]
    cli = opened(package_run / LAST, [])
    z = torch.nn.functional.normalize(torch.from_numpy(read_embeddings(made).embedding), dim=1)
    with torch.no_grad():
        query = cli.model.embed(cli.datamodule.query_inputs(["chess editor"]))[0]
    scores = z @ torch.nn.functional.normalize(query, dim=0)
    wanted = scores.topk(2)
    index = read_embeddings(made).index
    assert [hit["index"] for hit in by_text["hits"]] == index[wanted.indices].tolist()
    assert [hit["score"] for hit in by_text["hits"]] == pytest.approx(wanted.values.tolist(), abs=1e-5)
    assert 4 not in [hit["index"] for hit in by_item["hits"]]
    assert [hit["rank"] for hit in by_item["hits"]] == [1, 2]


def test_search_by_lines_from_a_pipe(shell, package_run, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("train viewer\n\nmail server\n"))
    told = shell("search", "--ckpt_path", str(package_run), "--k=1")
    assert told.index("train viewer") < told.index("mail server")


def test_search_of_pictures_goes_by_id(shell, digits_run, tmp_path):
    shell("embed", "--ckpt_path", str(digits_run), "--out", str(tmp_path / "z.npz"))
    common = ("search", "--ckpt_path", str(digits_run), "--embeddings", str(tmp_path / "z.npz"))
    held = read_embeddings(tmp_path / "z.npz")
    item = str(held.index[5])
    (answer,) = json.loads(shell(*common, f"--query={item}", "--k=3", "--json"))["results"]
    z = held.embedding / np.linalg.norm(held.embedding, axis=1, keepdims=True)
    scores = z @ z[5]
    scores[5] = -2
    assert [hit["index"] for hit in answer["hits"]] == held.index[np.argsort(-scores)[:3]].tolist()
    assert "label" in answer["hits"][0]
    assert "by the id of an item" in shell.fails(*common, "--query=a shoe")
    assert "there is no item 99999" in shell.fails(*common, "--item=99999")
    assert "--k 0" in shell.fails(*common, "--query=1", "--k=0")


def test_search_refuses_what_does_not_fit(shell, package_run, tmp_path):
    common = ("search", "--ckpt_path", str(package_run), "--query=chess")
    assert "says nothing to the encoder" in shell.fails(*common[:3], "--query=###")
    rows = {"embedding": np.eye(3, dtype=np.float32), "index": np.arange(3)}
    file = tmp_path / "z.npz"
    np.savez(file, **rows)
    assert "documents have 3 numbers, but the checkpoint's queries 16" in shell.fails(*common, f"--embeddings={file}")
    np.savez(file, **rows, made_by=np.array(json.dumps({"weights": "0", "checkpoint": "other.ckpt"})))
    assert "other weights (other.ckpt)" in shell.fails(*common, f"--embeddings={file}")
    assert "there is no such file" in shell.fails(*common, f"--embeddings={tmp_path / 'absent.npz'}", code=1)
