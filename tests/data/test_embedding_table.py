"""Files of embeddings: round trips, files of others, and what is wrong with them."""

import numpy as np
import pytest

from lightning_contrast.data.embedding_table import EmbeddingTable, read_embeddings, write_embeddings

TEXTS = ["plain", "", "Grüße\nsecond line"]


def table(**changes):
    whole = {
        "embedding": np.arange(6, dtype=np.float32).reshape(3, 2),
        "index": np.array([4, 2, 9]),
        "columns": {"label": np.array([0, 1, 0]), "kind": np.array(["a", "b", "c"])},
        "text": TEXTS,
        "made_by": {"weights": "abc"},
    }
    return EmbeddingTable(**{**whole, **changes})


@pytest.mark.parametrize("end", ["npz", "parquet"])
def test_round_trip(tmp_path, end):
    if end == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"new/z.{end}"
    write_embeddings(path, table())
    found = read_embeddings(path)
    assert np.array_equal(found.embedding, table().embedding)
    assert found.embedding.dtype == np.float32
    assert found.index.tolist() == [4, 2, 9]
    assert {name: column.tolist() for name, column in found.columns.items()} == {
        "label": [0, 1, 0],
        "kind": ["a", "b", "c"],
    }
    assert list(found.text) == TEXTS
    assert found.made_by == {"weights": "abc"}
    assert found.rows_of(np.array([9, 4])).tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"lack 2 of 3 ids \(3, 99\)"):
        found.rows_of(np.array([3, 4, 99]))
    write_embeddings(path, table(text=None, columns={}))
    assert read_embeddings(path).text is None
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="truncated"):
        read_embeddings(path)


def test_files_of_others(tmp_path):
    np.savez(tmp_path / "z.npz", embedding=np.ones((2, 3)), label=np.array(["cat", "dog"]))
    found = read_embeddings(tmp_path / "z.npz")
    assert found.index.tolist() == [0, 1]
    assert found.columns["label"].tolist() == ["cat", "dog"]
    np.savez(tmp_path / "z.npz", features=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"no column 'embedding'; it holds \['features'\]"):
        read_embeddings(tmp_path / "z.npz")
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    pa.parquet.write_table(pa.table({"embedding": [[1.0, 2.0], [3.0, 4.0]], "id": [1, 2]}), tmp_path / "z.parquet")
    assert read_embeddings(tmp_path / "z.parquet").embedding.tolist() == [[1, 2], [3, 4]]
    pa.parquet.write_table(pa.table({"embedding": [[1.0, 2.0], [3.0]]}), tmp_path / "z.parquet")
    with pytest.raises(ValueError, match="different lengths"):
        read_embeddings(tmp_path / "z.parquet")


NAN = np.array([[0, 1], [np.nan, 1], [np.inf, 1]], np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding": NAN}, r"2 of 3 embeddings are not finite \(index 2, 9\)"),
        ({"embedding": np.ones(3, np.float32)}, "must be floats"),
        ({"embedding": np.ones((3, 2), np.int64)}, "must be floats"),
        ({"embedding": np.ones((0, 2), np.float32), "index": np.zeros(0, np.int64)}, "at least one row"),
        ({"index": np.array([1, 2])}, r"one a row, \[3\]; got int64 \[2\]"),
        ({"index": np.array([1, 2, 1])}, r"1 ids occur more than once in index \(1\)"),
        ({"columns": {"label": np.array([1])}}, r"label must have one entry a row, \[3\]; got \[1\]"),
        ({"text": ["a"]}, "text must have one entry a row, 3; got 1"),
    ],
)
def test_what_is_wrong_is_counted_and_named(changes, message):
    with pytest.raises(ValueError, match=message):
        table(**changes)


def test_several_loaders_may_share_ids():
    whole = table(index=np.array([1, 2, 1]), columns={"dataloader": np.array([0, 0, 1])})
    assert len(whole) == 3
