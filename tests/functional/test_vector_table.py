"""Tables of vectors from files."""

import numpy as np
import pytest
import torch

from lightning_contrast.functional.vector_table import read_vectors

TABLE = torch.arange(12, dtype=torch.float32).view(4, 3)


def test_every_kind_of_file(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    numbers = torch.arange(4)  # what is no matrix of vectors does not count
    save_file({"embedding.weight": TABLE.half(), "count": numbers}, tmp_path / "t.safetensors")
    np.savez(tmp_path / "t.npz", vectors=TABLE.numpy().astype(np.float64), count=numbers.numpy())
    np.save(tmp_path / "t.npy", TABLE.numpy())
    for end in ("safetensors", "npz", "npy"):
        torch.testing.assert_close(read_vectors(str(tmp_path / f"t.{end}")), TABLE)


@pytest.mark.parametrize(
    ("name", "held", "words"),
    [
        ("t.npz", {"one": TABLE.numpy(), "two": TABLE.numpy()}, r"one \[4, 3\], two \[4, 3\]"),
        ("t.npz", {"one": np.arange(3)}, r"it holds one \[3\]"),
        ("t.npz", {"one": np.full((2, 2), np.nan)}, "not finite"),
        ("t.npz", b"PK", "cannot be read"),
        ("t.npy", b"", "cannot be read"),
        ("t.safetensors", b"1234", "cannot be read"),
        ("t.bin", b"", r"\.safetensors, \.npz or \.npy"),
    ],
)
def test_what_is_no_table(name, held, words, tmp_path):
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    path = tmp_path / name
    path.write_bytes(held) if isinstance(held, bytes) else np.savez(path, **held)
    with pytest.raises(ValueError, match=words) as told:
        read_vectors(str(path))
    assert str(path) in str(told.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_vectors(str(tmp_path / "t.npz"))
    with pytest.raises(ValueError, match="pip install no-such-package"):
        read_vectors("package:no_such_package/t.npz")
