"""Files that are there as a whole, or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file, which takes the place of ``path`` when the block ends without an error.

    Whoever reads, and whenever the process is killed, sees the old file or the new one. The folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # no ending, so that nobody takes it for the file
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, UTF-8, as a whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: Any) -> None:
    """A JSON file, as a whole or not at all."""
    write_text(path, json.dumps(content))


def table_path(path: str | Path, name: str = "path") -> Path:
    """The path, if a table of columns can be written there.

    Raises:
        ValueError: for another ending.
        ImportError: for ``.parquet`` without pyarrow, naming the extra.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".parquet"):
        raise ValueError(f"{name}={str(path)!r}: must end in .npz, or .parquet (with pyarrow).")
    if path.suffix == ".parquet":
        require_pyarrow(path)
    return path


def require_pyarrow(path: Path) -> Any:
    """The package, for this file.

    Raises:
        ImportError: naming the extra.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f'{path}: .parquet needs pyarrow: pip install "lightning-contrast[parquet]"; .npz needs nothing.'
        ) from error
    return pyarrow
