import io
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_contrast.data.digits import read_digits
from tests.data.packages import write_sample

ENVIRONMENT = {
    "MAX_STEPS": "2",
    "LIMIT_VAL_BATCHES": "1",
    "LIMIT_TEST_BATCHES": "1",
    "NUM_SANITY_VAL_STEPS": "0",
    "ENABLE_PROGRESS_BAR": "false",
    "ENABLE_MODEL_SUMMARY": "false",
    "ACCELERATOR": "cpu",
}


def digits_for_clothes(folder: Path, train: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Digits in the place and shape of Fashion-MNIST: nothing is fetched."""
    images, labels = read_digits(28)
    return (images[:300], labels[:300]) if train else (images[300:400], labels[300:400])


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a folder of pictures, where Python's trainings take two steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LIGHTNING_CONTRAST_DATA", str(tmp_path / "cache"))
    for name, value in ENVIRONMENT.items():  # Lightning reads them where an argument is left out
        monkeypatch.setenv(f"PL_TRAINER_{name}", value)
    module = "lightning_contrast.data.fashion_mnist_datamodule"
    monkeypatch.setattr(f"{module}.find_fashion_mnist", lambda *_: Path("digits"))
    monkeypatch.setattr(f"{module}.read_fashion_mnist", digits_for_clothes)
    _pictures(tmp_path / "my_pictures")
    write_sample(tmp_path / "cache" / "debian")
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody is at the keyboard
    return tmp_path


def _pictures(folder: Path) -> None:
    """Forty photographs of two kinds and several sizes, cut from the two that come with scikit-learn."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for kind, whole in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / kind).mkdir(parents=True)
        for i in range(20):
            side = 40 + 4 * i
            Image.fromarray(whole[10 * i : 10 * i + side, 15 * i : 15 * i + side + 8]).save(folder / kind / f"{i}.png")


@pytest.fixture(autouse=True)
def _seed() -> Any:
    torch.manual_seed(0)
