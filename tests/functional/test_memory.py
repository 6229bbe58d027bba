"""Peak memory grows with the embeddings, not with their square."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, torch
from pathlib import Path
from lightning_contrast.functional.row_lse import row_lse
from lightning_contrast.functional.self_lse import self_lse
from lightning_contrast.functional.symmetric_lse import symmetric_lse

from lightning_contrast.contrast import Contrast, evaluate

def status(key):
    return next(int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key))

def tiled(a, b, temperature):
    heat = torch.full((len(a),), 0.1).requires_grad_()
    contrast = Contrast.from_pairs(a, b, temperature=heat).replace(temperature=temperature)
    return [evaluate(contrast, lambda s: s.logsumexp() - s.target_sum(), path="tiles").loss]

def step(n):
    a = torch.nn.functional.normalize(torch.randn(n, 16), dim=1).requires_grad_()
    b = a.detach().clone().requires_grad_()
    w, s = torch.full((n,), 1 / n), torch.tensor(10.0)
    kernels = {
        "row": lambda: row_lse(a, [b], w, scale=s),
        "symmetric": lambda: symmetric_lse(a, b, w, w, scale=s, store=False),
        "self": lambda: self_lse(a, w, scale=s, store=False),
        "tiles": lambda: tiled(a, b, "temperature"),
        "tiles, a temperature a candidate": lambda: tiled(a, b, lambda p: p.candidate.temperature),
    }
    return kernels[sys.argv[1]]

torch.set_num_threads(1)
step(600)()[0].backward()
rises = []
for n in (2048, 8192):
    loss = step(n)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    loss()[0].backward()
    rises.append((status("VmHWM") - before) / 1024)
print(*rises)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak of Linux's /proc")
@pytest.mark.parametrize("kernel", ["row", "symmetric", "self"])
def test_growth(kernel):
    out = subprocess.run([sys.executable, "-c", PROGRAM, kernel], check=True, capture_output=True, text=True).stdout
    small, large = map(float, out.split())
    # All scores of 8192 rows take 256 MiB; the tile of the row kernel is 8 MiB, inputs and gradients are 2 MiB.
    assert large < 24, f"{large:.0f} MiB at 8192 rows"
    assert large - small < 16, f"{small:.0f} MiB at 2048 rows, {large:.0f} MiB at 8192"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak of Linux's /proc")
@pytest.mark.parametrize("temperature", ["tiles", "tiles, a temperature a candidate"])
def test_growth_of_tiles_under_autograd(temperature):
    command = [sys.executable, "-c", PROGRAM, temperature]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    small, large = map(float, out.split())
    # All scores of 8192 rows are 256 MiB, of which autograd would keep some ten copies. A tile is at most 8 MiB, at 2048
    # rows half of that.
    assert large < 256, f"{large:.0f} MiB at 8192 rows"
    assert large < 3 * small + 16, f"{small:.0f} MiB at 2048 rows, {large:.0f} MiB at 8192"
