"""One thread a test process: two workers share two cores, and sums are taken in one order."""

import os

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(autouse=True)
def no_seed_of_an_earlier_test(monkeypatch):
    """``seed_everything`` leaves the seed in the environment, and every process that Lightning starts takes it up."""
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.delenv(name, raising=False)
