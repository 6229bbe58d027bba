"""Every shipped recipe: its head, its settings, and two steps of it on real pictures."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from torch.nn.parameter import is_lazy

from lightning_contrast.callbacks import TrainTeacher
from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.cli.evidence.job import parts_of
from lightning_contrast.cli.recipes import FOLDER, methods
from lightning_contrast.cli.trainer import ContrastiveCLI
from lightning_contrast.data import verses
from lightning_contrast.modules import contrastive
from tests.data.packages import write_sample
from tests.data.test_sources import write_small
from tests.data.wordnet_sample import write_wordnet
from tests.modules.test_contrastive import weights

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
QUICK = [  # each step in an epoch of its own, so that what waits for one (a teacher, mined negatives) takes part
    "--trainer.max_steps=2", "--trainer.max_epochs=2", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1",
    "--trainer.logger=false", "--trainer.check_val_every_n_epoch=2",
    "--trainer.accelerator=cpu", "--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]  # fmt: skip
FASHION = ["--data.root={fashion}", "--data.val_size=10", "--data.batch_size=20", "--model.encoder.widths=[4, 8]"]
# By the data of the recipe: real ones that are always at hand in their stead.
SMALL = {
    "FashionMNISTDataModule": [
        "--data=DigitsDataModule", "--data.image_size=14", "--data.batch_size=48", "--model.encoder.widths=[4, 8]",
    ],
    "DigitsDataModule": ["--data.image_size=14", "--data.batch_size=48", "--model.encoder.widths=[4, 8]"],
    "PlacesDataModule": FASHION,
    "ColouredDataModule": FASHION,
    "ArchitectureDataModule": ["--data.architectures=48", "--data.seeds=2", "--data.samples=8", "--data.batch_size=16"],
    "PackageSearchDataModule": ["--data.root={packages}", "--data.batch_size=16"],
    "PackageTextDataModule": ["--data.root={packages}", "--data.batch_size=16"],
    "WordNetDataModule": ["--data.root={wordnet}", "--data.batch_size=16"],
    "TreeBandDataModule": ["--data.root={wordnet}", "--data.batch_size=16"],
    "MixedTextDataModule": [
        "--data.batch_size=16", "--data.mix=round_robin",
        '--data.parts={{"passages": {{"class_path": "WordNetDataModule", "init_args": {{"root": "{wordnet}"}}}}, "questions": '
        '{{"class_path": "RewrittenQueries", "init_args": {{"queries_of": {{"class_path": "WordNetDataModule", "init_args": '
        '{{"root": "{wordnet}"}}}}, "paraphrase": {{"class_path": "SynonymSubstitution", "init_args": {{"root": "{wordnet}"}}}}, '
        '"edit": {{"class_path": "SiblingSubstitution", "init_args": {{"root": "{wordnet}"}}}}}}}}}}',
    ],
    "RewrittenQueries": [
        '--data.queries_of={{"class_path": "WordNetDataModule", "init_args": {{"root": "{wordnet}"}}}}', "--data.batch_size=4",
        '--data.paraphrase={{"class_path": "SynonymSubstitution", "init_args": {{"root": "{wordnet}", "rate": 1.0}}}}',
        '--data.edit={{"class_path": "SiblingSubstitution", "init_args": {{"root": "{wordnet}"}}}}',
    ],
    "ConsistentPairs": [
        '--data.pairs_of={{"class_path": "PythonCodeDataModule", "init_args": {{"packages": ["rich"]}}}}', "--data.batch_size=16",
        "--data.proxy.width=8", "--data.threshold=-1",
    ],
    "LabelledPairs": [
        '--data.texts_of={{"class_path": "WordNetDataModule", "init_args": {{"task": "glosses", "root": "{wordnet}"}}}}',
        "--data.shots=4", "--data.batch_size=16",
    ],
    "ScoredPairs": [
        '--data.pairs_of={{"class_path": "RewrittenQueries", "init_args": {{"queries_of": {{"class_path": "WordNetDataModule", '
        '"init_args": {{"root": "{wordnet}"}}}}, "paraphrase": {{"class_path": "SynonymSubstitution", "init_args": {{"root": '
        '"{wordnet}", "rate": 1.0}}}}, "edit": {{"class_path": "SiblingSubstitution", "init_args": {{"root": "{wordnet}"}}}}}}}}',
        "--data.batch_size=16",
    ],
    "VerseDataModule": ["--data.batch_size=16"],
    "VerseClauseDataModule": ["--data.batch_size=16"],
    "WordContextDataModule": ["--data.root={wordnet}", "--data.min_count=1", "--data.batch_size=16"],
    "VerseWindowDataModule": ["--data.batch_size=16"],
    "PythonCodeDataModule": ["--data.packages=[rich]", "--data.batch_size=16"],
}  # fmt: skip


# What a recipe cannot do without, where the small data above take it away.
ALSO = {
    "care": ["--data.n_views=4"],
    "llm-hn": ["--data.paraphrase=null", "--data.keep_documents=true"],
    "cornstack": ["--trainer.callbacks=HardNegativeRefresh", "--trainer.callbacks.num_negatives=2", "--trainer.callbacks.gradient=true"],
    "scatsimclr": ["--data.n_views=3", "--data.augmentation=RotatedViews"],
    "pcl-sr": ["--data.augmentation=LowResolution"],
    "multi-crop": ["--data.n_views=4", "--data.augmentation=MultiCrop", "--data.augmentation.small_size=8"],
    "rrcm": ["--data.n_views=4", "--data.augmentation=NoisePath", "--model.encoder.channels=1"],
    "pixpro": ["--data.augmentation=ImageAugmentation", "--data.augmentation.boxes=true"],
    "sep-vae": ["--data.augmentation=PastedDigits", "--data.augmentation.mean=[0]", "--data.augmentation.std=[1]",
                "--data.augmentation.blur=0", "--data.augmentation.color=0", "--model.objective.pixels=196"],
    "sepclr": ["--data.augmentation=PastedDigits"],
    "ucf": ["--data.augmentation=Forgeries"],
}  # fmt: skip


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


KEPT = ("sampler", "n_views", "pairs", "inflation", "task", "view", "both_views", "unpaired", "tokenizer", "mixed",
        "query_prompt", "include_prompt", "domains")  # fmt: skip
"""Settings of the data without which a recipe is another."""


def quick(slug, folder, *more):
    """Small and short; what a recipe says of batches holds for other data too."""
    config = read_arguments([f"--config={slug}"]).config
    data = config["data"]
    name = data["class_path"].rpartition(".")[2]
    assert name in SMALL, f"say in SMALL how a recipe on {name} is run in a second"
    made = {"packages": write_sample, "fashion": write_small, "wordnet": write_wordnet}
    small = [
        word.format(**{key: make(folder / key) for key, make in made.items()}) if "{" in word else word
        for word in SMALL[name]
    ]
    if "encoder" in parts_of(config)["encoder"].get("init_args", {}):  # one encoder around another
        small = [word.replace("--model.encoder.", "--model.encoder.encoder.") for word in small]
    settings = data.get("init_args", {})
    held = {key: settings[key] for key in KEPT if key in settings}
    kept = [f"--data.{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in held.items()]
    return [f"--config={slug}", *small, *QUICK, *kept, f"--trainer.default_root_dir={folder}", *more]


@pytest.fixture(autouse=True)
def small_bible(monkeypatch):
    """Verses for where no Bible is at hand."""
    made = {("Mark", chapter, verse): f"and in {chapter} went {verse}, and saw {verse + 1}" for chapter in range(1, 41)
            for verse in range(1, 6)}  # fmt: skip
    monkeypatch.setattr(verses, "find_bible", lambda *where: None)
    monkeypatch.setattr(verses, "read_verses", lambda *where: made)


@pytest.mark.parametrize("slug", RECIPES)
def test_two_steps(slug, tmp_path):
    cli = ContrastiveCLI(args=quick(slug, tmp_path, *ALSO.get(slug, [])), run=False)
    for callback in cli.trainer.callbacks:
        if isinstance(callback, TrainTeacher):
            callback.steps = 2
    before = {name: p.detach().clone() for name, p in cli.model.encoder.named_parameters()
              if not is_lazy(p)}  # fmt: skip
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.global_step == 2
    batches = cli.trainer.train_dataloader
    views = (getattr(cli.datamodule, name, None) for name in ("augmentation", "view"))
    data = (cli.datamodule, *views, batches.batch_sampler, batches.dataset)
    parts = [*cli.model.modules(), *cli.trainer.callbacks, *data]
    inner = [value for part in parts for value in getattr(part, "__dict__", {}).values()]  # targets, views, parts
    parts += [one for value in inner for one in (value if isinstance(value, list) else [value])]
    parts += [one for value in inner if isinstance(value, dict) for one in value.values()]
    used = {type(part).__name__ for part in parts}
    assert COMPONENTS[slug] in used or (slug == "gradcache" and cli.model.chunk_size), "test_gradcache shows its use"
    assert torch.isfinite(cli.trainer.callback_metrics["train/loss"])
    after = dict(cli.model.encoder.named_parameters())
    assert any(not torch.equal(p, after[name]) for name, p in before.items()), "the encoder learns"
    assert all(torch.isfinite(p).all() for p in after.values())


def test_gradcache(tmp_path, monkeypatch):
    """The shipped encoder, on real pictures: chunks are encoded, and training is that of the whole batch."""
    chunks, whole = [], contrastive.encode_sides
    counted = lambda *args, **kwargs: (chunks.append(kwargs["size"]), whole(*args, **kwargs))[1]  # noqa: E731
    monkeypatch.setattr(contrastive, "encode_sides", counted)
    found, sgd = [], ("--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1")
    for size in ("null", "7"):
        more = (f"--model.chunk_size={size}", "--trainer.precision=32-true", *sgd)
        cli = ContrastiveCLI(args=quick("gradcache", tmp_path, *more), run=False)
        before = weights(cli.model.encoder)
        cli.trainer.fit(cli.model, cli.datamodule)
        assert (weights(cli.model.encoder) - before).norm() > 0.01
        found.append(weights(cli.model))
    assert chunks.count(7) >= 2
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
