from pathlib import Path

import lightning.pytorch  # noqa: F401 - here its log handler takes stderr itself, not what a test captures and closes
import pytest

from lightning_contrast.cli.main import main

TINY = {
    "trainer": {"max_steps": 3, "precision": "32-true", "enable_progress_bar": False, "enable_model_summary": False},
    "model": {
        "encoder": {"class_path": "SmallCNN", "init_args": {"widths": [4, 8], "grid": 2}},
        "head": {"class_path": "MLPHead", "init_args": {"hidden": [16], "output_dim": 8, "batch_norm": True}},
        "objective": {"class_path": "InfoNCE", "init_args": {"temperature": 0.2}},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.003, "weight_decay": 0.5}},
        "lr_scheduler": {"class_path": "WarmupCosine", "init_args": {"warmup": 0.3}},
    },
    "data": {"class_path": "DigitsDataModule", "init_args": {"batch_size": 256}},
}


@pytest.fixture
def tiny(tmp_path) -> str:
    """A configuration that trains in a blink."""
    import yaml

    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return str(path)


class Shell:
    """Runs commands in this process, below a folder of its own."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.capsys = root, capsys

    def __call__(self, *args: str, code: int = 0) -> str:
        found = main([*args])
        told = self.capsys.readouterr()
        assert found == code, told.err[-3000:]
        self.err = told.err
        return told.out

    def fit(self, *args: str, code: int = 0) -> str:
        return self("fit", *args, "--trainer.default_root_dir", str(self.root), code=code)

    def runs(self, name: str = "*") -> list[Path]:
        return sorted(self.root.glob(f"{name}/*"), key=lambda p: p.stat().st_mtime_ns)

    def fails(self, *args: str, code: int = 2) -> str:
        self(*args, code=code)
        assert "Traceback" not in self.err
        return self.err


@pytest.fixture
def shell(tmp_path, capsys) -> Shell:
    return Shell(tmp_path / "runs", capsys)


def train(root: Path, config: dict, *args: str) -> Path:
    """Train once for many tests; the run folder."""
    import yaml

    root.mkdir(parents=True, exist_ok=True)
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    before = set(root.glob("runs/*/*"))
    assert main(["fit", "--config", str(file), "--trainer.default_root_dir", str(root / "runs"), *args]) == 0
    (run,) = set(root.glob("runs/*/*")) - before
    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> Path:
    """A run on few pictures."""
    return train(tmp_path_factory.mktemp("digits"), TINY)


@pytest.fixture(scope="session")
def package_run(tmp_path_factory) -> Path:
    """A run on a small sample of package descriptions."""
    from tests.data.packages import write_sample

    root = tmp_path_factory.mktemp("packages")
    config = {
        "trainer": {**TINY["trainer"], "max_steps": 24},
        "model": {
            "encoder": {"class_path": "BagOfWords", "init_args": {"words": 999, "output_dim": 16}},
            "objective": {"class_path": "InfoNCE", "init_args": {"temperature": 0.05}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.03}},
        },
        "data": {
            "class_path": "PackageSearchDataModule",
            "init_args": {"words": 999, "batch_size": 16, "root": str(write_sample(root / "sample"))},
        },
    }
    return train(root, config)
