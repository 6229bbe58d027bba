"""The file of mined negatives: whole, checked, the same in both formats."""

import numpy as np
import pytest

from lightning_contrast.mining import MinedTable, read_mined, write_mined


def table(n=50, h=3):
    rng = np.random.default_rng(0)
    negative = rng.integers(0, n, (n, h))
    negative[::7, 1:] = -1
    score = np.where(negative >= 0, rng.normal(size=(n, h)), -np.inf).astype(np.float32)
    query = rng.permutation(n)
    return MinedTable(query, query.copy(), rng.normal(size=n).astype(np.float32), negative, score)


@pytest.fixture(params=[".npz", ".parquet"])
def path(request, tmp_path):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / "sub" / f"mined{request.param}"


def test_there_and_back(path):
    write_mined(path, table())
    for a, b in zip(read_mined(path), table(), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failure_leaves_the_old_one(path, monkeypatch):
    write_mined(path, table())
    before = path.read_bytes()
    with pytest.raises(ValueError, match="queries must be >= 0, each once"):
        write_mined(path, table()._replace(query=np.zeros(50, dtype=np.int64)))
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_mined(path, table(60))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.99])
def test_truncated(path, share):
    write_mined(path, table())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"mined.*: truncated, or no"):
        read_mined(path)


def test_one_byte_is_wrong(path):
    write_mined(path, table())
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 0xFF
    path.write_bytes(bytes(whole))
    try:
        found = read_mined(path)
    except ValueError:
        return
    assert len(found.query) == 50  # parquet has checksums only on request: what is read is at least consistent


def test_foreign(path):
    path.parent.mkdir()
    path.write_text("not at all")
    with pytest.raises(ValueError, match="truncated, or no"):
        read_mined(path)
    if path.suffix == ".npz":
        np.savez(path, embedding=np.zeros((3, 2)))
        expected = r"no table of mined negatives; it holds \['embedding'\]"
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"query": [1]}), path)
        expected = r"no table of mined negatives; it holds \['query'\]"
    with pytest.raises(ValueError, match=expected):
        read_mined(path)


def test_contradictions(tmp_path):
    path = tmp_path / "a.npz"
    kept = dict(format=np.array("lightning_contrast.mined"), version=np.array(1), **table()._asdict())
    for change, message in (
        ({"version": np.array(2)}, "version 2"),
        ({"negative": kept["negative"][:10]}, r"negative is int64 \[10, 3\]"),
        ({"negative_score": kept["negative_score"][:, :2]}, "negative_score"),
        ({"positive": kept["positive"].astype(float)}, "positive is float64"),
        ({"negative_score": np.zeros((50, 3), np.float32)}, "contradict each other"),
    ):
        np.savez(path, **{**kept, **change})
        with pytest.raises(ValueError, match=message):
            read_mined(path)
    np.savez(path, **{k: v for k, v in kept.items() if k != "positive"})
    with pytest.raises(ValueError, match=r"lacks \['positive'\]"):
        read_mined(path)


def test_misuse(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_mined(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"must end in .npz, or .parquet"):
        write_mined(tmp_path / "a.csv", table())
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "lightning-contrast\[parquet\]"'):
        write_mined(tmp_path / "a.parquet", table())
    assert not list(tmp_path.iterdir())
