"""Data sets inside Debian packages, and the texts of its index, fetched into the cache: no root, nothing installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_APT_HELPER = "/usr/lib/apt/apt-helper"
_APT_OPTIONS = {"Acquire::Retries": "1", "Acquire::http::Timeout": "15", "Acquire::https::Timeout": "15"}


class DataNotFoundError(FileNotFoundError):
    """No source has the data; the message names each one that was tried, why it failed, and what to do."""


def cache_folder(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """`cache_dir`, else ``$LIGHTNING_CONTRAST_DATA``, else ``~/.cache/lightning_contrast``."""
    return Path(cache_dir or os.environ.get("LIGHTNING_CONTRAST_DATA") or Path.home() / ".cache" / "lightning_contrast")


def debian_package_path(name: str, cache_dir: str | os.PathLike[str] | None = None, timeout: float = 300.0) -> Path:
    """The folder a Debian package was unpacked into: its files are in ``usr/share/...`` below.

    Fetched once with ``apt-get download`` and the machine's own sources; where apt's lists are empty (as in
    container images), they are fetched into a temporary folder first.

    Args:
        name: Package name.
        cache_dir: See :func:`cache_folder`.
        timeout: Seconds for each command.

    Raises:
        DataNotFoundError: If apt is absent, or cannot reach or does not know the package.
    """
    target = cache_folder(cache_dir) / "debian" / name
    if target.is_dir():
        return target
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DataNotFoundError(f"{tool} is not on this machine, so Debian's package {name} cannot be fetched")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as folder:
        work = Path(folder)
        package = _download(name, work, timeout)
        _run(["dpkg-deb", "-x", str(package), str(work / "files")], work, timeout)
        try:
            os.replace(work / "files", target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster
                raise
    return target


def debian_index(work: Path, timeout: float = 300.0) -> tuple[str, str]:
    """The machine's index of packages, and its English descriptions, as they are: stanzas of ``Key: value``.

    Args:
        work: An empty folder for apt's lists; afterwards it may be deleted.
        timeout: Seconds for each command.

    Raises:
        DataNotFoundError: If apt is absent, or cannot reach its sources, or these have no English descriptions.
    """
    for tool in ("apt-get", _APT_HELPER):
        if shutil.which(tool) is None:
            raise DataNotFoundError(
                f"{tool} is not on this machine, so Debian's package descriptions cannot be fetched"
            )
    _fresh_lists(work, timeout, languages="en")
    parts = []
    for kind in ("_Packages", "_Translation-en"):
        files = sorted(str(path) for path in (work / "lists").iterdir() if kind in path.name)
        if not files:
            raise DataNotFoundError(f"apt-get update brought no list *{kind}; its sources have none")
        parts.append(_run([_APT_HELPER, "cat-file", *files], work, timeout))
    return parts[0], parts[1]


def _download(name: str, work: Path, timeout: float) -> Path:
    """Download the package into `work`, with the machine's lists or, failing these, with fresh ones."""
    download = ["apt-get", "download", "-qq", name]
    options = dict(_APT_OPTIONS)
    try:
        _run(_with_options(download, options), work, timeout)
    except DataNotFoundError:
        options = _fresh_lists(work, timeout, languages="none")
        _run(_with_options(download, options), work, timeout)
    found = sorted(work.glob("*.deb"))
    if not found:
        raise DataNotFoundError(f"apt-get download {name} left no package")
    return found[0]


def _fresh_lists(work: Path, timeout: float, languages: str) -> dict[str, str]:
    """Fetch apt's lists into `work`; the options by which apt uses them."""
    for part in ("lists/partial", "cache/archives/partial"):
        (work / part).mkdir(parents=True)
    options = {**_APT_OPTIONS, "Dir::State::lists": str(work / "lists"), "Dir::Cache": str(work / "cache")}
    update = ["apt-get", "update", "-qq", "-o", f"Acquire::Languages={languages}"]
    _run(_with_options(update, options), work, timeout)
    return options


def _with_options(command: list[str], options: dict[str, str]) -> list[str]:
    return [*command, *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


def _run(command: list[str], folder: Path, timeout: float) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataNotFoundError(f"`{' '.join(command[:3])}` failed: {error}") from error
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise DataNotFoundError(f"`{' '.join(command[:4])}` failed: {reason}")
    return done.stdout
