"""Each seeded fault yields its finding, and no other error or warning."""

import json
import re
import time
import types
from pathlib import Path

import pytest
import torch

from lightning_contrast.cli.doctor import examine
from lightning_contrast.cli.doctor.checks import check_names, findings_of
from lightning_contrast.cli.doctor.checks.leaks import id_columns, label_columns
from lightning_contrast.cli.doctor.checks.room import _rough
from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.memory import PeakBytes
from lightning_contrast.cli.doctor.numbers import as_numbers, partner_ranking
from lightning_contrast.cli.doctor.observation import Observation, Step
from lightning_contrast.contrast import Contrast
from lightning_contrast.modules.figures import seen
from lightning_contrast.objectives import InfoNCE
from tests.data.packages import sample
from tests.recipes.test_recipes import ALSO, quick

FAULTS = "tests.cli.doctor.faults"
HEALTHY = [
    "--config={trainer: {max_epochs: 1}, model: {encoder: {class_path: SmallCNN, init_args: {widths: [4, 8], norm: group}},"
    " head: {class_path: LinearHead, init_args: {output_dim: 16}},"
    " objective: {class_path: InfoNCE, init_args: {temperature: 0.1}}},"
    " data: {class_path: DigitsDataModule, init_args: {batch_size: 64}}}"
]


def spoiled(fault: str) -> list[str]:
    return [f"--data={FAULTS}.SpoiledViews", f"--data.fault={fault}", "--data.batch_size=64"]


def encoder(fault: str) -> list[str]:
    return [f"--model.encoder={FAULTS}.SpoiledEncoder", f"--model.encoder.fault={fault}"]


SAME = "--data.augmentation={class_path: ImageAugmentation, init_args: {scale: [1, 1], ratio: [1, 1], flip: 0, color: 0, blur: 0}}"
NORMED = ["--model.encoder.norm=batch"]
QUEUE = "--trainer.callbacks=[{class_path: MemoryQueue, init_args: {size: %d}}]"

SEEDED = {
    "views-identical": [SAME],
    "views-unrelated": spoiled("strangers"),
    "positives-less-similar": [*spoiled("inverted"), *encoder("spare")[:1], "--model.encoder.fault=large"],
    "label-leaks": spoiled("labelled"),
    "id-leaks": spoiled("numbered"),
    "duplicates-as-negatives": [f"--data={FAULTS}.Repeated", "--data.batch_size=64"],
    "ids-repeat": spoiled("one_index"),
    "no-negatives": ["--data.pairs=true", "--model.in_batch=false"],
    "few-negatives": ["--data.batch_size=8"],
    "anchors-left-out": [*spoiled("own_label"), "--data.n_views=1", "--model.objective=SupCon"],
    "negatives-excluded": ["--trainer.callbacks=[{class_path: FalseNegativeFilter, init_args: {max_score: 0.0}}]"],
    "temperature-too-low": ["--model.objective.temperature=0.001"],
    "temperature-too-high": ["--model.objective.temperature=10"],
    "loss-above-chance": [
        "--model.objective.similarity=lightning_contrast.contrast.similarity.Dot", *encoder("large"),
        "--model.optimizer=SGD", "--model.optimizer.lr=1e-6",
    ],
    "solved-at-start": [*spoiled("noise"), f"--model.encoder={FAULTS}.Pixels", "--model.head=null",
                        "--model.objective.temperature=0.05"],
    "dead-gradient": encoder("detached"),
    "exploding-gradient": encoder("steep"),
    "unused-parameters": encoder("spare"),
    "steps-too-large": ["--model.optimizer=AdamW", "--model.optimizer.lr=10"],
    "steps-too-small": ["--model.optimizer=AdamW", "--model.optimizer.lr=0"],
    "embeddings-alike": encoder("dead"),
    "batch-norm-across-ranks": [*NORMED, "--trainer.devices=2", "--trainer.accelerator=cpu"],
    "batch-norm-across-views": [*NORMED, "--model.key_encoder=Momentum", "--model.in_batch=false", QUEUE % 256],
    "batch-norm-in-chunks": [*NORMED, "--model.chunk_size=16"],
    "queue-larger-than-data": [QUEUE % 5000],
    "mined-are-positives": ["--trainer.callbacks=[HardNegativeRefresh]"],
    "inputs-not-normalised": spoiled("bright"),
    "inputs-not-finite": spoiled("nan"),
    "inputs-constant": spoiled("blank"),
    "batch-is-the-data": ["--data.batch_size=1200"],
    "fails": encoder("raising"),
    "out-of-memory": encoder("greedy"),
    "data-is-slow": [f"--data={FAULTS}.SlowDisk", "--data.batch_size=64"],
    "views-are-slow": spoiled("slow"),
}  # fmt: skip


SLEEPING = {"data-is-slow", "views-are-slow"}


@pytest.fixture(autouse=True)
def own_time(request, monkeypatch):
    """Seconds of this process: those of the wall grow with whatever else the machine does. Faults that sleep need them."""
    if getattr(request.node, "callspec", None) is None or request.node.callspec.params.get("name") not in SLEEPING:
        monkeypatch.setattr("lightning_contrast.cli.doctor.clock._now", time.process_time)


def told(*args: str, steps: int = 3) -> dict[str, str]:
    """Severities by finding, without notes."""
    found = findings_of(examine([*HEALTHY, *args], steps))
    assert all(f.evidence and f.why and (f.change or f.severity == "note") for f in found)
    assert not [f for f in found if f.name == "not-checked"]
    return {f.name: f.severity for f in found if f.severity != "note"}


def test_a_healthy_configuration():
    assert told() == {}


@pytest.mark.parametrize("name", SEEDED)
def test_each_fault_yields_its_finding_alone(name):
    assert list(told(*SEEDED[name])) == [name]


def test_every_finding_is_seeded_or_tested_below_and_explained():
    """A finding that no test can produce may be wrong or dead; one that the guide leaves out is a riddle."""
    root = Path(__file__).parents[3]
    sources = "\n".join(path.read_text() for path in (root / "lightning_contrast/cli/doctor/checks").glob("*.py"))
    found = set(re.findall(r'Finding\(\s*"([a-z-]+)"', sources)) - {"not-checked"}
    assert found == {*SEEDED, *OF_TEXTS, "throughput", "memory", "batch-does-not-fit"}
    guide = (root / "docs/guides/doctor.md").read_text()
    assert all(f"| `{name}` |" in guide for name in found)
    assert {path.stem for path in (root / "lightning_contrast/cli/doctor/checks").glob("[a-z]*.py")} == set(
        check_names()
    )


def texts(folder, **changed) -> list[str]:
    """Package descriptions as queries and documents; ``changed`` makes another field of each."""
    rows = [d for d in sample() if not d.package.endswith("-doc")]
    made = [{"query": d.short, "document": d.long} | {k: f(d) for k, f in changed.items()} for d in rows]
    path = folder / "texts.jsonl"
    path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in made))
    return [
        "--model.encoder=BagOfWords", "--model.encoder.words=512", "--model.encoder.output_dim=16", "--model.head=null",
        "--data=TextDataModule", f"--data.train={path}", "--data.tokenizer=HashedWords", "--data.tokenizer.words=512",
        "--data.batch_size=24", "--model.objective.temperature=0.2",
    ]  # fmt: skip


OF_TEXTS = {
    "texts-cut": ({}, ["--data.tokenizer.length=4"]),
    "duplicates-as-negatives": ({"document": lambda d: f"about a {d.source.split('-')[0]}"}, []),
    "mined-are-positives": ({"negative": lambda d: [d.long]}, []),
    "views-identical": ({"text": lambda d: d.long, "query": lambda _: None, "document": lambda _: None}, []),
}


def test_healthy_texts(tmp_path):
    assert told(*texts(tmp_path)) == {}


@pytest.mark.parametrize("name", OF_TEXTS)
def test_each_fault_of_texts_yields_its_finding_alone(name, tmp_path):
    changed, args = OF_TEXTS[name]
    assert list(told(*texts(tmp_path, **changed), *args, steps=2)) == [name]


def test_repeated_texts_are_no_negatives_where_each_anchor_has_its_own(tmp_path):
    repeated, _ = OF_TEXTS["duplicates-as-negatives"]
    args = texts(tmp_path, **repeated, negative=lambda d: [f"what {d.package} is not"])
    assert list(told(*args, steps=2)) == ["duplicates-as-negatives"]
    assert "duplicates-as-negatives" not in told(*args, "--model.in_batch=false", steps=2)


def test_a_bias_of_zero_is_no_exploding_gradient():
    objective = {
        "class_path": "PairDiscriminator",
        "init_args": {"similarity": {"class_path": "Cosine"}, "temperature": 0.1},
    }
    assert "exploding-gradient" not in told(f"--model.objective={json.dumps(objective)}")


@pytest.mark.parametrize(("in_batch", "ranking"), [(True, 1.0), (False, None)])
def test_negatives_of_an_anchors_own_are_chosen_for_being_similar(in_batch, ranking):
    z = torch.eye(8)
    made = Contrast.from_pairs(z, z + 0.1, negatives=z[:, None], in_batch=in_batch)
    objective = InfoNCE(0.1, symmetric=False)
    scored = seen(objective.evaluate_all(objective.directions(made))[0])
    assert Observation({}, None, None, None, steps=[Step({}, [(scored, 0.0)])]).ranking == ranking


def test_explicit_negatives_that_are_the_positive():
    assert list(told(*spoiled("copies"))) == ["mined-are-positives"]


def test_a_batch_that_does_not_fit(monkeypatch):
    monkeypatch.setattr("lightning_contrast.cli.doctor.memory.free_bytes", lambda device: 1000)
    assert list(told()) == ["batch-does-not-fit"]


def test_memory_of_a_layer_by_hand():
    """One linear layer without bias, summed: its inputs are there anyway; outputs, their gradient and that of the weights."""
    weight = torch.nn.Parameter(torch.ones(256, 512))
    x = torch.ones(100, 512)
    with PeakBytes() as counted:
        (x @ weight.T).square().sum().backward()
    out, gradient = 100 * 256 * 4, 256 * 512 * 4
    # product, its square or the square's gradient, the product's gradient (2 x times it), and the weights' gradient
    assert out + gradient <= counted.peak <= 4 * out + gradient
    held = counted.now
    assert held == gradient, "all else has gone"
    del weight
    assert counted.now == 0


def test_memory_grows_with_the_batch_but_not_in_chunks():
    seen = examine([*HEALTHY, "--data.batch_size=128", "--model.encoder.widths=[16, 32]"], 2)
    found = seen.memory
    assert found.plain[1] > 3 * found.chunked[1] > 0
    assert found.largest(True) > 3 * found.largest(False) > 128
    assert abs(found.needed(found.largest(False), False) - found.free) <= found.plain[1]
    assert seen.module.chunk_size is None, "as it was"


def test_columns_that_tell():
    x, label = torch.rand(60, 5), torch.arange(60) % 4
    assert label_columns(x, label).tolist() == []
    x[:, 3] = torch.tensor([0.3, 0.1, 0.9, 0.9])[label]
    assert label_columns(x, label).tolist() == [3]
    assert label_columns(x[:12], label[:12]).tolist() == [], "too few rows to tell"
    one, two = torch.rand(32, 6), torch.rand(32, 6)
    assert id_columns(one, two).tolist() == []
    two[:, 2] = one[:, 2] = 0.5
    assert id_columns(one, two).tolist() == [], "a constant names nobody"
    two[:, 4] = one[:, 4]
    assert id_columns(one, two).tolist() == [4]
    two[7, 4] += 0.5
    assert id_columns(one, two).tolist() == [], "not in every row"


def test_ranking_of_partners():
    x = torch.randn(200, 30)
    assert partner_ranking(x, x) == 1.0
    assert partner_ranking(x, torch.ones_like(x)) == pytest.approx(0.5, abs=0.02)
    assert partner_ranking(x, torch.randn(200, 30)) == pytest.approx(0.5, abs=0.05)
    assert partner_ranking(x, -x) == 0.0


def test_tokens_and_texts_as_numbers():
    tokens = torch.tensor([[1, 2, 0], [3, 3, 0]])
    assert as_numbers({"ids": tokens}).sum(1).tolist() == [3, 2]
    texts = as_numbers(["a b a", "c"])
    assert texts.sum(1).tolist() == [2, 1]
    assert float(texts[0] @ texts[1]) == 0


def test_command(shell, tmp_path):
    found = json.loads(shell("doctor", *HEALTHY, "--steps=2", "--json"))
    assert {f["name"] for f in found["findings"]} == {"throughput", "memory"}
    assert set(found["findings"][0]) == {"name", "severity", "evidence", "why", "change"}
    assert found["checks"] == check_names()
    assert found["figures"]["start"]["negatives"] == 126
    assert found["figures"]["memory"]["largest_batch_in_chunks"] > found["figures"]["memory"]["largest_batch"]
    assert not list(tmp_path.rglob("*")), "nothing is written"


@pytest.mark.parametrize(
    ("args", "code"), [(["--fail-on=warning"], 1), (["--fail-on=never"], 0), ([], 0)], ids=["warning", "never", "error"]
)
def test_exit_code(shell, args, code, monkeypatch):
    monkeypatch.setattr("lightning_contrast.cli.doctor.examine", lambda *_: seen)
    seen = Observation({}, types.SimpleNamespace(objective=None, key_encoder=None), None, None)
    bad = Finding("few-negatives", "warning", "an anchor has [2] negatives", "why not", "more")
    monkeypatch.setattr("lightning_contrast.cli.doctor.checks.findings_of", lambda _: [bad])
    told = shell("doctor", *args, code=code)
    assert "warning  few-negatives" in told
    assert "an anchor has [2] negatives" in told, "brackets are text"
    assert "change: more" in told


def test_wrong_command_lines(shell):
    assert "--steps 1" in shell.fails("doctor", *HEALTHY, "--steps=1")
    assert "nearest: simclr" in shell.fails("doctor", "--config=simcrl")
    assert "nearest: temperature" in shell.fails("doctor", *HEALTHY, "--model.objective.temprature=1")


def test_a_check_that_cannot_read_the_data_leaves_the_others(monkeypatch):
    monkeypatch.setattr("lightning_contrast.cli.doctor.checks.epoch.check", lambda seen: 1 / 0)
    seen = Observation({}, None, None, None, failure=ValueError("x"))
    found = {f.name for f in findings_of(seen)}
    assert found >= {"not-checked", "fails"}


@pytest.mark.parametrize("slug", ["simclr", "byol", "supcon", "package-search", "siglip", "sep-vae", "cluster-ns"])
def test_no_error_in_shipped_recipes(slug, tmp_path):
    own = ("--trainer.max", "--trainer.en", "--trainer.limit_train")
    seen = examine([a for a in quick(slug, tmp_path, *ALSO.get(slug, [])) if not a.startswith(own)], 2)
    allowed = {"few-negatives"} if slug == "package-search" else set()  # of the rows a batch that tests take
    assert {f.name for f in findings_of(seen) if f.severity != "note"} <= allowed
    assert len(seen.steps) == 2
    assert bool(seen.unmeasured) == (slug == "cluster-ns"), "whose objective needs what its callback brings"


def test_slow_steps_are_fewer(monkeypatch):
    monkeypatch.setattr("lightning_contrast.cli.doctor.probe.ENOUGH", 0.0)
    seen = examine(HEALTHY, 6)
    assert len(seen.steps) == 2
    assert seen.failure is None
    assert seen.seconds


def test_the_largest_batch_is_rounded_down():
    assert [_rough(n) for n in (0, 7, 314_075, 5_183_125)] == ["0", "7", "310,000", "5,100,000"]
