"""Every shipped recipe: its head, its settings, and two steps of it on real pictures."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.cli.recipes import FOLDER, methods
from lightning_contrast.cli.trainer import ContrastiveCLI
from tests.data.packages import write_sample

TESTS = Path(__file__).parent.parent
COMPONENTS = {m.slug: str(m.component).rpartition(".")[2] for m in methods()}
RECIPES = [m.slug for m in methods() if m.recipe]
KINDS = {
    "batching", "data", "diagnostic", "distillation", "memory", "model", "negatives", "objective", "positives", "recipe",
    "regulariser", "temperature",
}  # fmt: skip
PROOFS = {
    "worked numbers", "double loop", "gradcheck", "processes", "reductions", "resume", "equal to the plain step",
    "independent implementation",
}  # fmt: skip
QUICK = [
    "--trainer.max_steps=2", "--trainer.max_epochs=1", "--trainer.limit_val_batches=1", "--trainer.logger=false",
    "--trainer.accelerator=cpu", "--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip
# By the data of the recipe: real ones that are always at hand in their stead.
SMALL = {
    "FashionMNISTDataModule": [
        "--data=DigitsDataModule", "--data.image_size=14", "--data.batch_size=48", "--model.encoder.widths=[4, 8]",
    ],
    "PackageSearchDataModule": ["--data.root={packages}", "--data.batch_size=16"],
}  # fmt: skip


def quick(slug, folder):
    data = read_arguments([f"--config={slug}"]).config["data"]["class_path"].rpartition(".")[2]
    assert data in SMALL, f"say in SMALL how a recipe on {data} is run in a second"
    return [*(word.format(packages=write_sample(folder / "packages")) for word in SMALL[data]), *QUICK]


@pytest.mark.parametrize("method", methods(), ids=lambda m: m.slug)
def test_head(method):
    assert re.fullmatch(r"[a-z0-9-]+", method.slug)
    assert method.kind in KINDS
    assert method.sure in {"high", "medium", "low"}
    assert method.verified
    assert set(method.verified) <= PROOFS, "only what a test really does"
    head = (FOLDER / f"{method.slug}.yaml").read_text().split("#\n", 1)[1]
    about = " ".join(line.lstrip("# ") for line in head.splitlines() if line.startswith("#"))
    assert re.search(r"(19|20)\d\d\b", about), "the paper's year"
    if method.recipe:
        assert "Differs from the paper: " in about
    if method.sure == "low":
        assert "reconstruction" in about
    if method.component:
        module, _, name = method.component.rpartition(".")
        assert hasattr(importlib.import_module(module), name)
        found = [path for path in TESTS.rglob("test_*.py") if re.search(rf"\b{name}\b", path.read_text())]
        assert found, f"no test names {name}"


@pytest.mark.parametrize("slug", RECIPES)
def test_two_steps(slug, tmp_path):
    cli = ContrastiveCLI(
        args=[f"--config={slug}", *quick(slug, tmp_path), f"--trainer.default_root_dir={tmp_path}"], run=False
    )
    used = {type(part).__name__ for part in (*cli.model.modules(), *cli.trainer.callbacks)}
    assert COMPONENTS[slug] in used
    before = {name: p.detach().clone() for name, p in cli.model.encoder.named_parameters()}
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.global_step == 2
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    after = dict(cli.model.encoder.named_parameters())
    assert any(not torch.equal(before[name], p) for name, p in after.items()), "the encoder learns"
    assert all(torch.isfinite(p).all() for p in after.values())
