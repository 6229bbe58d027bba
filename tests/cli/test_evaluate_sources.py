"""``evaluate`` of what this library did not train: encoders from elsewhere, files of embeddings, queries and documents."""

import json
import sys
import types

import numpy as np
import pytest
import torch

from lightning_contrast.cli.evaluate import load
from lightning_contrast.cli.evidence.by_search import scores
from lightning_contrast.cli.runs import LAST
from lightning_contrast.data import WordNetDataModule
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.functional.evaluation import evaluate_embeddings
from tests.callbacks.test_pair_evaluation import WORDS, correlations, graded
from tests.data.wordnet_sample import write_wordnet

DIGITS = ("--data=DigitsDataModule", "--json")


def results(shell, *args):
    return json.loads(shell("evaluate", *args))["results"]


def test_queries_and_documents(shell, package_run):
    with pytest.warns(
        UserWarning, match=r"--trainer.devices: evaluate runs in one process\. `embed --trainer.devices N`"
    ):
        told = json.loads(
            shell("evaluate", "--ckpt_path", str(package_run), "--json", "--split=val", "--trainer.devices=2")
        )
    module, data = load(package_run / LAST, [])
    wanted = scores(module.eval().embed, data, 0)["val"]
    assert told["results"]["this encoder"] == pytest.approx(wanted)
    assert set(told["results"]) == {"this encoder", "untrained encoder", "BM25"}
    assert told["results"]["untrained encoder"]["mrr@10"] < wanted["mrr@10"]


ENCODER = ("--encoder=BagOfWords", '--encoder_args={"words": 500, "output_dim": 8}')
TEXTS = ("--data.tokenizer=HashedWords", "--data.tokenizer.words=500", "--data.batch_size=16", "--json", "--split=val")


def test_graded_relevance_and_graded_pairs(shell, tmp_path):
    """A bag of random words already finds what shares words: the figures are those of plain loops."""
    root = f"--data.root={write_wordnet(tmp_path)}"
    encoder = BagOfWords(words=500, output_dim=8)
    torch.save(encoder.state_dict(), tmp_path / "w.pt")
    told = {}
    for task in ("broader", "similarity"):
        given = ("--data=WordNetDataModule", f"--data.task={task}", root, *TEXTS, f"--weights={tmp_path / 'w.pt'}")
        told[task] = json.loads(shell("evaluate", *ENCODER, *given))
    texts = {task: WordNetDataModule(task, root=str(tmp_path), tokenizer=WORDS) for task in told}
    for one in texts.values():
        one.setup()
    row = told["broader"]["results"]["this encoder"]
    assert (row["ndcg@10"], row["recall@10"]) == pytest.approx(graded(encoder, texts["broader"]), abs=1e-6)
    assert 0 < row["ndcg@10"] < 1
    assert (
        told["broader"]["samples"]
        == len(set(texts["broader"]._sets["val"].query_id))
        < len(texts["broader"]._sets["val"])
    )
    assert "rerank_map" not in row, "all documents of a query are relevant"
    row = told["similarity"]["results"]["this encoder"]
    assert (row["spearman"], row["pearson"]) == pytest.approx(correlations(encoder, texts["similarity"]), abs=1e-5)
    assert {"mrr@10", "ndcg@10", "recall@10"} <= set(told["broader"]["results"].get("BM25", row))


@pytest.mark.filterwarnings("ignore:.*figures will flatter")
def test_candidates_reranked_and_both_ways(shell, tmp_path):
    words = ["cat dog", "map town", "chess game", "mail read", "song sing", "ship sea", "tree leaf", "coat wool"]
    file = tmp_path / "pairs.jsonl"
    rows = [{"query": one, "document": f"{one.split()[0]} of {one.split()[1]}", "negative": two}
            for one, two in zip(words, words[1:] + words[:1], strict=True)]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"--data.{split}={file}" for split in ("train", "val", "test")]
    row = results(shell, *ENCODER, "--data=TextDataModule", *files, *TEXTS)["this encoder"]
    assert row["rerank_map"] == row["rerank_mrr@10"] == row["rerank_ndcg@10"] == 1, "negatives share no word"
    assert "mrv" not in row
    encoder = BagOfWords(words=500, output_dim=8)
    torch.save(encoder.state_dict(), tmp_path / "w.pt")
    given = ("--data=TextDataModule", *files, "--both_ways", f"--weights={tmp_path / 'w.pt'}", *TEXTS)
    row = results(shell, *ENCODER, *given)["this encoder"]
    one, other = (encoder(WORDS([row[side] for row in rows])).detach() for side in ("query", "document"))
    cosine = torch.cosine_similarity(one[:, None], other, dim=2)
    ranks = torch.stack([(c > c.diagonal()[:, None] + 1e-6).sum(1) for c in (cosine, cosine.T)], 1).double()
    assert (row["recall@1"], row["recall@1_back"]) == tuple((ranks == 0).double().mean(0).tolist())
    assert row["mrv"] == pytest.approx(float(ranks.var(1, correction=0).mean()))
    (tmp_path / "graded.jsonl").write_text(
        "".join(json.dumps({"query": a, "documents": [b, f"{a} now"], "scores": [0, 2]}) + "\n"
                for a, b in zip(words, words[1:] + words[:1], strict=True))
    )  # fmt: skip
    files = [f"--data.{split}={tmp_path / 'graded.jsonl'}" for split in ("train", "val", "test")]
    row = results(shell, *ENCODER, "--data=TextDataModule", *files, *TEXTS)["this encoder"]
    assert row["rerank_map"] == row["rerank_ndcg@10"] == 1, "the other document shares no word"
    assert row["spearman"] > 0.5


def test_a_class_with_its_weights(shell, digits_run, tmp_path):
    """The run's own encoder, as if it came from elsewhere, gives the run's own figures."""
    own = results(shell, "--ckpt_path", str(digits_run), "--json")["this encoder"]
    module, _ = load(digits_run / LAST, [])
    weights = tmp_path / "w.pt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in module.encoder.state_dict().items()}}, weights)
    made = ("--encoder_args", '{"widths": [4, 8], "grid": 2}', "--weights", str(weights))
    for name in ("SmallCNN", "lightning_contrast.encoders.SmallCNN"):
        rows = results(shell, "--encoder", name, *made, *DIGITS)
        assert rows["this encoder"] == pytest.approx(own)
    bare = ("evaluate", "--encoder", "SmallCNN", "--weights", str(weights), *DIGITS)
    assert "shape" in shell.fails(*bare) or "do not fit" in shell.err
    weights.write_bytes(weights.read_bytes()[:300])
    assert "truncated, or no weights" in shell.fails(*bare)
    torch.save([1], weights)
    assert "no state dict" in shell.fails(*bare)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--encoder=SmallCN"], "no encoder of ours; nearest: SmallCNN"),
        (["--encoder=no.such.Thing"], "cannot be imported"),
        (["--encoder=SmallCNN", "--encoder_args={"], "no JSON"),
        (["--encoder=SmallCNN", "--encoder_args=[1]"], "a mapping"),
        (["--encoder=SmallCNN", "--weights=absent.pt"], "there is no such file"),
        (["--encoder=SmallCNN", "--timm=x"], "--encoder, --timm exclude each other"),
        ([], "nothing says what to evaluate"),
    ],
)
def test_misuse(shell, args, message):
    assert message in shell.fails("evaluate", *args, *DIGITS)


def test_no_data(shell):
    assert "data: required" in shell.fails("evaluate", "--encoder=torch.nn.Flatten")


def test_names_of_other_libraries(shell, monkeypatch):
    """Stand-ins, as neither library nor a network is needed to see what is asked of them."""

    class Out:
        pooler_output = None

        def __init__(self, x):
            self.last_hidden_state = x.flatten(1)[:, None].repeat(1, 2, 1)

    class Vision(torch.nn.Module):
        def forward(self, x):
            return Out(x)

    asked = {}

    class AutoModel:
        @staticmethod
        def from_pretrained(name, local_files_only):
            asked.update(name=name, local=local_files_only)
            if name == "absent":
                raise OSError("not in the cache\nlong story")
            return Vision()

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoModel=AutoModel))
    pixels = results(shell, "--encoder=torch.nn.Flatten", *DIGITS)["this encoder"]
    assert results(shell, "--transformers=some/model", *DIGITS)["this encoder"] == pytest.approx(pixels)
    assert asked == {"name": "some/model", "local": True}
    said = shell.fails("evaluate", "--transformers=absent", *DIGITS)
    assert "--transformers absent: not in the cache. Only a folder" in said

    def create_model(name, pretrained, num_classes):
        raise RuntimeError(f"Unknown model ({name})")

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    assert "--timm nobody: Unknown model (nobody)." in shell.fails("evaluate", "--timm=nobody", *DIGITS)
    for name in ("timm", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
        assert f"pip install {name}" in shell.fails("evaluate", f"--{name}=x", *DIGITS)


def test_files_with_labels(shell, tmp_path):
    rng = np.random.default_rng(0)
    label = np.arange(80) % 4
    z = (np.eye(4)[label] + 0.4 * rng.normal(size=(80, 4))).astype(np.float32)
    np.savez(tmp_path / "train.npz", embedding=z[:60], label=label[:60])
    np.savez(tmp_path / "test.npz", embedding=z[60:], label=label[60:])
    files = ("--embeddings", str(tmp_path / "test.npz"))
    parts = [torch.from_numpy(x) for x in (z[:60], label[:60], z[60:], label[60:])]
    rows = results(shell, *files, "--bank", str(tmp_path / "train.npz"), "--json")
    assert rows["these embeddings"] == pytest.approx(evaluate_embeddings(*parts))
    assert rows["chance"]["knn"] == 0.25
    assert "precision@1" in results(shell, *files, "--json")["these embeddings"]
    np.savez(tmp_path / "wide.npz", embedding=np.ones((4, 5)), label=np.arange(4))
    said = shell.fails("evaluate", *files, "--bank", str(tmp_path / "wide.npz"))
    assert "its rows have 5 numbers, those of --embeddings 4" in said
    np.savez(tmp_path / "bare.npz", embedding=z[:60])
    assert "--bank: no column 'label'" in shell.fails("evaluate", *files, "--bank", str(tmp_path / "bare.npz"))
    assert "without data and model" in shell.fails("evaluate", *files, "--data.root=x")
    alone = ("evaluate", "--embeddings", str(tmp_path / "wide.npz"))
    assert "no two rows share a label" in shell.fails(*alone)


def test_files_of_queries_and_documents(shell, tmp_path):
    documents = np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "d.npz", embedding=documents, index=np.array([10, 11, 12, 13]), document_id=np.arange(4))
    queries = np.array([[1, 0.5, 0, 0], [0, 0, 0.5, 1]], np.float32)
    np.savez(tmp_path / "q.npz", embedding=queries, index=np.array([1, 2]), document_id=np.array([0, 2]))
    files = ("--embeddings", str(tmp_path / "q.npz"), "--corpus", str(tmp_path / "d.npz"))
    assert results(shell, *files, "--json")["these embeddings"]["mrr@10"] == pytest.approx((1 + 1 / 2) / 2)
    qrels = tmp_path / "qrels.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n1\t10\t1\n1\t11\t3\n2\t13\t1\n2\t12\t0\n")
    rows = results(shell, *files, f"--qrels={qrels}", "--json")["these embeddings"]
    gained, best = 1 + 3 / np.log2(3), 3 + 1 / np.log2(3)  # grades 1, 3 in that order; 3, 1 would be ideal
    assert rows["ndcg@10"] == pytest.approx((gained / best + 1) / 2)
    assert rows["mrr@10"] == 1
    assert rows["recall@10"] == 1
    qrels.write_text("1 0 10 1\n9 0 10 1\n")
    said = shell.fails("evaluate", *files, f"--qrels={qrels}")
    assert "the queries lack 1 of 2 ids (9)" in said
    qrels.write_text("1 10 1\n1 10\n")
    assert "line 2: expected `query document grade`, got '1 10'" in shell.fails("evaluate", *files, f"--qrels={qrels}")
    assert "--by nothing" in shell.fails("evaluate", *files, "--by=nothing")
