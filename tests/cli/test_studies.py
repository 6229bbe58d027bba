"""Studies: read from YAML, run and kept as the comparison of methods is, reported with curves."""

import json
from types import SimpleNamespace

import pytest
import yaml

import lightning_contrast.data
from lightning_contrast.cli import evidence
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evidence.by_own import figure_of
from lightning_contrast.cli.evidence.clock import Clock
from lightning_contrast.cli.evidence.job import BASELINES, OWN, Job, part_name
from lightning_contrast.cli.evidence.own_report import improved, write_own
from lightning_contrast.cli.evidence.records import Records
from lightning_contrast.cli.evidence.rows import BY_SIZE
from lightning_contrast.cli.evidence.run import run
from lightning_contrast.cli.evidence.study import read_study, studies
from lightning_contrast.cli.evidence.study_report import curve_of, write_study
from lightning_contrast.data import FashionMNISTDataModule
from tests.data.packages import write_sample
from tests.data.wordnet_sample import write_wordnet

HELD = {
    "title": "Toy", "question": "Which?", "seconds": 2, "seeds": 2, "figures": ["knn", "linear"],
    "baselines": ["raw pixels"], "axis": "samples a batch",
    "every_row": {"base": "simclr", "data": {"val_size": 100}},
    "rows": [
        {"name": "one", "line": "a", "at": 16, "data": {"batch_size": 16}},
        {"name": "two", "base": "dcl", "line": "a", "at": 32, "data": {"batch_size": 32}},
    ],
}  # fmt: skip
BY_CLASS_SIZE = set(BY_SIZE)
"""Columns that balanced data lack."""
TEXTS = [
    *[("refresh", row) for row in ("mined once", "refreshed", "in-batch negatives")],
    *[("search-packages", row.name) for row in read_study("search-packages").rows if row.name not in BASELINES],
]


def written(folder, **changes):
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({**HELD, **changes}))
    return str(path)


def known(name):
    """Whether what a study needs is there."""
    return name != "imbalance" or "imbalance" in FashionMNISTDataModule.__init__.__annotations__


def on_texts(name):
    study = read_study(name)
    data = part_name(study.job(study.rows[0], 0, 1.0, None, ()).settings()["data"])
    return hasattr(getattr(lightning_contrast.data, data), "query_inputs")


def line(study, row, seed=0, knn=0.5, steps=3):
    job = study.job(next(one for one in study.rows if one.name == row), seed, study.seconds, steps, ())
    scores = {"knn": knn, "linear": knn, "few_label": knn}
    return {
        "slug": row, "seed": seed, "setting": job.setting, "fingerprint": job.fingerprint(), "labels": False, "steps": 3,
        "seconds": 1.5, "wall": 2.0, "memory": 20.0, "data": "digits", "val": scores, "test": scores,
        "curve_of": "knn", "curve": [[0, 0.0, knn]] if row == "raw pixels" else [[1, 1.0, knn - 0.1], *([[2, 1.5, knn]] if seed else []), [4, 2.0 + seed, knn]],
    }  # fmt: skip


def test_a_row_is_its_recipe_what_all_share_and_its_own(tmp_path):
    study = read_study(written(tmp_path))
    assert [row.name for row in study.rows] == ["raw pixels", "one", "two"]
    assert (study.name, study.title, study.seconds, study.seeds) == ("toy", "Toy", 2.0, 2)
    one, two = (study.job(row, 0, 1.0, None, ()).settings() for row in study.rows[1:])
    simclr = Job("simclr").settings()
    for own, objective, batch in ((one, "InfoNCE", 16), (two, "DCL", 32)):
        assert own["model"]["objective"]["class_path"] == objective
        assert own["data"]["init_args"] == {**simclr["data"]["init_args"], "val_size": 100, "batch_size": batch}
        assert own["trainer"]["callbacks"] == [], "monitors cost time"
    assert one["model"] == simclr["model"]


def test_a_study_like_another(tmp_path):
    first = {"name": "one", "add": [{"class_path": "MemoryQueue"}]}
    (tmp_path / "toy.yaml").write_text(
        yaml.safe_dump({
            **HELD, "finding": "Of the other.", "rows": [first, HELD["rows"][1]],
            "every_row": {**HELD["every_row"], "trainer": {"callbacks": ["BatchMining"]}},
        })
    )  # fmt: skip
    other = {
        "like": str(tmp_path / "toy.yaml"), "title": "Other", "steps": 7,
        "every_row": {"data": {"val_size": 50}, "model": {"objective": {"init_args": {"temperature": 0.3}}}},
        "rows": [{"name": "two", "base": "dcl"}, {"name": "three", "trainer": {"callbacks": []}}],
    }  # fmt: skip
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    study = read_study(str(tmp_path / "other.yaml"))
    assert [row.name for row in study.rows] == ["raw pixels", "one", "two", "three"]
    assert (study.name, study.title, study.question, study.seeds) == ("other", "Other", "Which?", 2)
    assert (study.steps, study.finding, study.axis) == (7, "", "samples a batch")
    baseline, one, two, three = (study.job(row, 0, 1.0, None, ()).settings() for row in study.rows)
    assert [settings["data"]["init_args"]["val_size"] for settings in (one, two)] == [50, 50]
    assert "batch_size" not in two["data"]["init_args"] or two["data"]["init_args"]["batch_size"] != 32, "another row"
    assert two["model"]["objective"] == {"class_path": "DCL", "init_args": {"temperature": 0.3}}
    names = [[part_name(c) for c in s["trainer"]["callbacks"]] for s in (baseline, one, two, three)]
    assert names == [["BatchMining", "MemoryQueue"], ["BatchMining", "MemoryQueue"], ["BatchMining"], []]
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**HELD, "like": str(tmp_path / "other.yaml")}))
    with pytest.raises(UserError, match="in a circle"):
        read_study(str(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    ("batch", "figure"), [(("query", "document", "score"), "spearman"), (("views", "score"), "loss")]
)
def test_the_figure_of_scores_is_a_correlation_where_they_are_of_pairs(batch, figure):
    data = SimpleNamespace(val_dataloader=lambda: iter([dict.fromkeys(batch)]))
    assert figure_of(data) == figure


def test_recipes_on_texts_each_on_its_own_data(tmp_path):
    held = {
        "title": "T", "question": "Q?", "scored_by": OWN, "steps": 2,
        "rows": [{"name": "text-search", "data": {"batch_size": 8}}, {"name": "mine", "base": "simcse"}],
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(held))
    study = read_study(str(tmp_path / "own.yaml"))
    rows = {row.name: row for row in study.rows}
    assert {"simcse", "cosent", "package-search", "mine"} <= set(rows)
    assert "simclr" not in rows
    small = {name: study.job(row, 0, 1.0, None, ()).settings()["data"]["init_args"] for name, row in rows.items()}
    assert (small["simcse"]["subset"], small["ccl"]["subset"], small["mine"]["subset"]) == (2000, 2000, 20000)
    assert small["text-search"] | {"tokenizer": 0} == {"batch_size": 8, "tokenizer": 0}, "what is listed has its own"
    root = f"--data.root={write_sample(tmp_path)}"
    wordnet = f"--data.root={write_wordnet(tmp_path)}"
    asked = (("text-search", root), ("cosent", wordnet), ("set-cse", wordnet))
    runs = [run(study.job(rows[name], 0, 1.0, 2, (where,))) for name, where in asked]
    assert [one["curve_of"] for one in runs] == ["ndcg@10", "spearman", "loss"]
    for one in runs:
        assert one["curve"][0][2] != one["curve"][1][2] == one["val"][one["curve_of"]]
        assert one["steps"] == 2
    text = write_own(study, runs, tmp_path, "2 steps", "c")[0].read_text()
    for part in ("nDCG@10", "rank correlation", "loss"):
        assert f"## By {part}" in text.replace("the recipe's own ", "")
    assert "| `text-search` | Debian package descriptions (120 pairs" in text
    assert "| `simcse` |" not in text


@pytest.mark.parametrize(
    ("ends", "better"), [([(0.1, 0.2)], True), ([(0.2, 0.2)], False), ([(0.1, 0.2), (0.1, 0.5)], False)]
)
def test_better_than_before(ends, better):
    runs = [{"curve_of": "ndcg@10", "curve": [(0, 0.0, a), (1, 1.0, b)]} for a, b in ends]
    assert improved(runs) is better
    turned = [{"curve_of": "loss", "curve": [(0, 0.0, -a), (1, 1.0, -b)]} for a, b in ends]
    assert improved(turned) is better


def test_steps_and_points_of_a_study(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(evidence, "compare", lambda jobs, *_: asked.extend(jobs) or 0)
    path = str(written(tmp_path, steps=7, points=2))
    evidence.main(["--study", path])
    assert {(job.steps, job.points, job.setting) for job in asked} == {(7, 2, "7 steps")}
    asked.clear()
    evidence.main(["--study", path, "--budget", "3"])
    assert {job.setting for job in asked} == {"3 seconds of one core"}
    asked.clear()
    evidence.main(["--study", path, "--steps", "5"])
    assert {job.setting for job in asked} == {"5 steps"}


@pytest.mark.parametrize("name", studies())
def test_what_is_shipped(name):
    study = read_study(name)
    assert len(study.rows) >= 3
    assert study.question.strip().endswith((".", "?"))
    minutes = study.seeds * len(study.rows) * study.seconds / 60
    assert study.steps or minutes < 15
    if study.scored_by == OWN:
        return  # each row stands for itself
    assert study.seeds >= 3, "intervals"
    for row in study.rows:
        settings = study.job(row, 0, 1.0, None, ()).settings()
        assert settings["model"]["encoder"] == study.job(study.rows[0], 0, 1.0, None, ()).settings()["model"]["encoder"]


QUICK = ("few-shot", "small-batches")
"""Studies on pictures that stand for the others where time is short."""
PICTURES = [n for n in studies() if n != "bias" and not on_texts(n) and known(n)]


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PICTURES])
def test_rows_of_a_shipped_study_on_pictures_train(name):
    study = read_study(name)
    kinds = {}
    for row in study.rows:
        settings = study.job(row, 0, 1.0, None, ()).settings()
        if row.name not in BASELINES:  # one of each kind: rows that differ by batch and learning rate need no run each
            kinds[str(settings["model"]["objective"]) + str(settings["trainer"]["callbacks"])] = row.name, settings
    for row, settings in kinds.values():
        own = {
            key: settings["data"]["init_args"][key]
            for key in ("classes", "score")
            if key in settings["data"]["init_args"]
        }
        digits = {"class_path": "DigitsDataModule", "init_args": {"image_size": 14, "batch_size": 16, **own}}
        configs = (json.dumps({**settings, "data": digits}),)
        found = run(Job(row, 0, steps=2, configs=configs, points=1, protocol=study.scored_by))
        assert set(study.figures) - BY_CLASS_SIZE <= {*found, *found["test"]}
        assert found["steps"] == 2
        assert [point == 1 and at > 0 and -1 <= score <= 1 for point, at, score in found["curve"]] == [True]


@pytest.mark.parametrize(("study", "name"), TEXTS)
def test_rows_of_the_search(study, name, tmp_path):
    study = read_study(study)
    row = next(row for row in study.rows if row.name == name)
    small = (f"--data.root={write_sample(tmp_path)}", "--data.batch_size=16", "--data.subset=90")
    found = run(study.job(row, 0, 1.0, 30, small))
    assert set(found["val"]) == set(found["test"]) == {"mrr@10", "ndcg@10", "recall@10"}
    assert [point for point, _, _ in found["curve"]] == [1, 2, 3, 4, 5, 6]
    assert found["curve"][-1][2] == pytest.approx(found["val"]["mrr@10"], abs=1e-6), "the last point is the last step"
    assert 0.2 < found["test"]["mrr@10"] <= found["test"]["recall@10"] <= 1
    assert found["data"].startswith("Debian package descriptions (120 pairs, SHA-256 ")


def test_search_by_words_alone(tmp_path):
    pytest.importorskip("bm25s")
    study = read_study("refresh")
    small = (f"--data.root={write_sample(tmp_path)}", "--data.batch_size=16", "--data.subset=90")
    rows = {row.name: row for row in study.rows}
    found = run(study.job(rows["BM25"], 0, 1.0, 10, small))
    assert found["steps"] == 0
    assert found["curve"] == [(0, 0.0, pytest.approx(found["val"]["mrr@10"]))], "the same score as the curves'"
    assert found["test"]["mrr@10"] > 0.5
    static = run(study.job(rows["by words, static"], 0, 1.0, 10, small))
    assert static["steps"] == 10


def test_without_a_schedule_training_ends_when_the_seconds_are_over(tmp_path):
    study = read_study("refresh")
    small = (f"--data.root={write_sample(tmp_path)}", "--data.batch_size=16", "--data.subset=90")
    found = run(study.job(study.rows[2], 0, 0.5, None, small))
    assert 0.5 <= found["seconds"] < 2
    assert found["steps"] > 3
    assert [at for _, at, _ in found["curve"]] == sorted(at for _, at, _ in found["curve"])
    assert found["curve"][-1][0] == 6, "the end is always on the curve"


def test_the_clock_stands_still_while_the_curve_is_measured(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.process_time", lambda: now[0])
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    class Trainer:
        global_step = 0
        should_stop = False

    def look():
        now[0] += 100
        return 0.5

    clock, trainer = Clock(None, 4.0, 4, look), Trainer()
    clock.on_train_start(trainer, None)
    for seconds in (1, 2, 1):
        assert not trainer.should_stop
        now[0] += seconds
        clock.on_train_batch_end(trainer, None)
    clock.on_train_end(trainer, None)
    assert trainer.should_stop
    assert clock.curve == [(1, 1.0, 0.5), (3, 3.0, 0.5), (4, 4.0, 0.5)]
    assert (clock.seconds, clock.wall) == (4.0, 4.0)


def test_page_and_chart(tmp_path):
    study = read_study(written(tmp_path))
    runs = [line(study, "raw pixels", knn=0.3)]
    for seed in (0, 1, 2):
        runs += [line(study, "one", seed, 0.8 + 0.001 * seed), line(study, "two", seed, 0.6 + 0.001 * seed)]
    page, chart = write_study(study, runs, tmp_path, "3 steps", "lightning-contrast evidence --study toy")
    text = page.read_text()
    assert text.startswith("# Toy\n\nWhich?\n")
    assert "| one | 3 | 1 | 0.801 ± 0.002 |" in text
    assert "| two | 3 | 2 | 0.601 ± 0.002 |" in text
    assert "| *raw pixels* | 1 |  | 0.300 | 0.300 |  |  |  |  |" in text
    assert "```bash\nlightning-contrast evidence --study toy\n```" in text
    assert "](toy.png)" in text
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert text.index("raw pixels") < text.index("| one") < text.index("| two"), "in the study's order"


def test_what_came_out_is_told_after_the_table(tmp_path):
    study = read_study(written(tmp_path, finding="No difference.\n"))
    text = write_study(study, [line(study, "one"), line(study, "two")], tmp_path, "3 steps", "c")[0].read_text()
    assert text.index("| two |") < text.index("## What came out\n\nNo difference.\n") < text.index("](toy.png)")
    plain = read_study(written(tmp_path))
    assert "came out" not in write_study(plain, [line(plain, "one")], tmp_path, "3 steps", "c")[0].read_text()


def test_a_protocol_is_part_of_what_a_run_is():
    assert Job("simclr").fingerprint() != Job("simclr", protocol="unseen classes").fingerprint()
    assert read_study("unseen-classes").job(read_study("unseen-classes").rows[0], 0, 1.0, None, ()).protocol


def test_no_ranking_where_intervals_overlap(tmp_path):
    study = read_study(written(tmp_path))
    runs = [line(study, row, seed, 0.5 + 0.1 * seed) for row in ("one", "two") for seed in (0, 1)]
    text = write_study(study, runs, tmp_path, "3 steps", "c")[0].read_text()
    assert "| one | 2 | 1-2 |" in text
    assert "| two | 2 | 1-2 |" in text


def test_curves_by_hand(tmp_path):
    study = read_study(written(tmp_path))
    (at, first), (later, last) = curve_of([line(study, "one", 0, 0.5), line(study, "one", 1, 0.7)])
    assert (at, later) == (1.0, 2.5)
    assert (first.mean, last.mean) == (pytest.approx(0.5), pytest.approx(0.6))
    assert last.half == pytest.approx(12.7062 * 0.1, rel=1e-4)


def test_the_command_goes_on_and_forgets_changed_rows(tmp_path, capsys, monkeypatch):
    ran = []

    def fake(job):
        ran.append((job.slug, job.seed))
        return {**line(study, job.slug, job.seed), "fingerprint": job.fingerprint()}

    monkeypatch.setattr(evidence, "_alone", fake)
    path = written(tmp_path)
    study = read_study(path)
    command = ["--study", path, "--steps=3", f"--out={tmp_path}"]
    assert evidence.main(command) == 0
    assert ran == [("raw pixels", 0), ("one", 0), ("two", 0), ("one", 1), ("two", 1)]
    assert evidence.main(command) == 0
    assert len(ran) == 5
    assert capsys.readouterr().out.count("kept") == 5
    assert f"evidence --study {path} --steps=3" in (tmp_path / "toy.md").read_text()
    rows = [HELD["rows"][0], {**HELD["rows"][1], "data": {"batch_size": 48}}]
    path = written(tmp_path, rows=rows)
    study = read_study(path)
    assert len(Records(tmp_path / "toy.jsonl").current([study.job(r, 0, 2.0, 3, ()) for r in study.rows])) == 3
    assert evidence.main([*command, "--seeds=1"]) == 0
    assert ran[5:] == [("two", 0)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": []}, "no rows"),
        ({"rwos": []}, "unknown key 'rwos'; nearest: rows"),
        ({"figures": ["acc"]}, r"figures \['acc'\]: choose among knn"),
        ({"scored_by": "chance"}, "scored_by: 'chance': choose among labels"),
        ({"baselines": ["chance"]}, "baselines: 'chance'"),
        ({"every_row": {"model": {}}}, "no `base:`"),
        ({"every_row": {"base": "simcrl"}}, "nearest: simclr"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "same name"),
        ({"rows": [{"base": "simclr"}]}, "lacks name"),
        ({"rows": ["simclr"]}, "a mapping is expected, got str"),
        ({"like": "refesh"}, "nearest: refresh"),
        ({"scored_by": OWN}, "lacks steps"),
    ],
)
def test_wrong_studies(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        read_study(written(tmp_path, **changes))


def test_no_such_study():
    with pytest.raises(UserError, match="nearest: small-batches"):
        read_study("small-batch")
