"""Comparing methods: what is kept, what is run again, what the table says."""

import json
from importlib import import_module
from types import SimpleNamespace

import pytest

from lightning_contrast.callbacks import TrainTeacher
from lightning_contrast.cli import evidence
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evidence.elsewhere import elsewhere
from lightning_contrast.cli.evidence.job import Job
from lightning_contrast.cli.evidence.records import Records
from lightning_contrast.cli.evidence.report import markdown, write_report
from lightning_contrast.cli.evidence.rows import figure, places, rows_of
from lightning_contrast.cli.evidence.run import run

run_module = import_module("lightning_contrast.cli.evidence.run")
DIGITS = ("--data=DigitsDataModule", "--data.image_size=14", "--data.batch_size=64")


def line(slug, seed=0, knn=0.5, labels=False, **job):
    own = Job(slug, seed, **job)
    return {
        "slug": slug, "seed": seed, "setting": own.setting, "fingerprint": own.fingerprint(), "labels": labels,
        "steps": 7, "seconds": 1.5, "wall": 1.6, "memory": 20.0, "curve": [], "curve_of": "knn", "data": "digits", "alignment": 0.1, "uniformity": -1.0, "rank": 9.0,
        "val": {"knn": 0.1, "linear": 0.1, "few_label": 0.1}, "test": {"knn": knn, "linear": knn, "few_label": knn},
    }  # fmt: skip


def compare(jobs, folder, run):
    report = lambda runs: write_report(runs, folder, jobs[0].setting)  # noqa: E731
    return evidence.compare(jobs, jobs, Records(folder / "runs.jsonl"), report, run)


def test_one_run_trains_as_long_as_told_and_is_scored_on_both_splits():
    found = run(Job("simclr", steps=3, others=DIGITS))
    assert (found["slug"], found["steps"], found["labels"]) == ("simclr", 3, False)
    assert found["seconds"] > 0
    assert set(found["val"]) == set(found["test"]) == {"knn", "linear", "few_label"}
    assert found["val"] != found["test"]
    assert 0.3 < found["test"]["knn"] <= 1
    assert 0 <= found["alignment"] <= 4
    assert found["uniformity"] < 0
    assert found["rank"] > 1
    again = run(Job("simclr", steps=3, others=DIGITS))
    assert {k: v for k, v in again.items() if k not in ("seconds", "wall", "memory")} == {
        k: v for k, v in found.items() if k not in ("seconds", "wall", "memory")
    }
    assert run(Job("simclr", seed=1, steps=3, others=DIGITS))["test"] != found["test"]


def test_seconds_become_steps():
    found = run(Job("supcon", seconds=0.5, others=DIGITS))
    assert found["labels"]
    assert found["steps"] >= 1
    assert 0.1 < found["seconds"] < 3, "the budget, roughly: the machine may be busy"


def test_raw_pixels_are_not_trained():
    found = run(Job("raw pixels", others=DIGITS))
    assert (found["steps"], found["seconds"]) == (0, 0)
    assert found["test"]["knn"] > 0.9


def test_the_same_command_goes_on_where_it_was_stopped(tmp_path, capsys):
    jobs = [Job(slug, seed, steps=2) for seed in (0, 1) for slug in ("simclr", "dcl")]
    ran = []

    def fake(job):
        ran.append((job.slug, job.seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return line(job.slug, job.seed, steps=2)

    with pytest.raises(KeyboardInterrupt):
        compare(jobs, tmp_path, fake)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 2
    assert compare(jobs, tmp_path, fake) == 0
    assert ran == [("simclr", 0), ("dcl", 0), ("simclr", 1), ("simclr", 1), ("dcl", 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evidence.md", "evidence.png", "runs.jsonl"]


def test_a_failed_run_is_told_and_tried_again(tmp_path, capsys):
    def fails(job):
        if job.slug == "dcl":
            raise RuntimeError("the loss is not finite")
        return line(job.slug, job.seed, steps=2)

    jobs = [Job("dcl", steps=2), Job("simclr", steps=2)]
    assert compare(jobs, tmp_path, fails) == 1
    assert "dcl, seed 0: failed: the loss is not finite" in capsys.readouterr().out
    assert [run["slug"] for run in Records(tmp_path / "runs.jsonl").runs] == ["simclr"]


def test_a_changed_recipe_makes_its_runs_stale(tmp_path, monkeypatch):
    records = Records(tmp_path / "runs.jsonl")
    records.add(line("simclr", steps=2))
    records.add(line("dcl", steps=2) | {"fingerprint": "of a former recipe"})
    records.add(line("simclr", steps=3))
    assert records.has(Job("simclr", steps=2))
    assert not records.has(Job("dcl", steps=2))
    assert not records.has(Job("simclr", seed=1, steps=2))
    assert [run["slug"] for run in records.current([Job("simclr", steps=2), Job("dcl", steps=2)])] == ["simclr"]
    records.add(line("dcl", steps=2))
    assert len(Records(tmp_path / "runs.jsonl").runs) == 3, "the new run takes the place of the old"


def test_runs_of_an_older_version_that_lack_a_field_are_run_anew(tmp_path):
    old = {key: value for key, value in line("simclr", steps=2).items() if key != "curve_of"}
    (tmp_path / "runs.jsonl").write_text(json.dumps(old) + "\n")
    assert not Records(tmp_path / "runs.jsonl").has(Job("simclr", steps=2))


def test_half_a_line_is_told(tmp_path):
    (tmp_path / "runs.jsonl").write_text(json.dumps(line("simclr")) + '\n{"slug": "dc')
    with pytest.raises(UserError, match="line 2"):
        Records(tmp_path / "runs.jsonl")


def test_where_the_data_lie_is_no_setting():
    here, there = (Job("dcl", steps=2, others=(f"--data.root=/{name}", "--data.seed=3")) for name in "ab")
    assert here.setting == there.setting == "2 steps --data.seed=3"
    assert here.fingerprint() == there.fingerprint() != Job("dcl", steps=2).fingerprint()


def test_values_of_settings_are_no_recipes(monkeypatch):
    seen = []
    monkeypatch.setattr(
        evidence, "study_run", lambda study, options, given, command: seen.append((options, given)) or 0
    )
    monkeypatch.setattr(evidence, "methods_compared", lambda options, given: seen.append((options, given)) or 0)
    settings = ["--data", "Digits", "--data.subset", "300", "--model.head.bias", "-1", "--data.root=/a"]
    for command in (
        ["--study", "refresh", *settings],
        [*settings, "--study", "refresh", "--seeds", "3"],
        ["dcl", *settings],
    ):
        assert evidence.main(command) == 0
        options, given = seen.pop()
        assert given == ("--data=Digits", "--data.subset=300", "--model.head.bias=-1", "--data.root=/a")
        assert options.slugs == (["dcl"] if "dcl" in command else [])
    with pytest.raises(UserError, match="byol: neither a recipe nor an option; recipes come first"):
        evidence.main(["simclr", "--seeds", "3", "byol"])


def test_everything_is_equal_but_the_method():
    settings = [Job(slug).settings() for slug in ("simclr", "byol", "cacr", "moco-v2", "triplet")]
    assert all(one["model"]["encoder"] == settings[0]["model"]["encoder"] for one in settings)
    assert all(one["data"]["class_path"] == settings[0]["data"]["class_path"] for one in settings)
    names = [[c["class_path"] for c in one["trainer"]["callbacks"]] for one in settings]
    assert names == [[], [], [], ["MemoryQueue"], []], "monitors cost time; what belongs to the method stays"


def test_a_teacher_learns_from_the_same_budget_of_steps(monkeypatch):
    asked = []

    def made(job, steps, clock):
        asked.append((steps, clock.steps))
        if len(asked) == 2:
            raise InterruptedError
        return SimpleNamespace(trainer=SimpleNamespace(callbacks=[TrainTeacher(steps=200)]))

    monkeypatch.setattr(run_module, "made", made)
    with pytest.raises(InterruptedError):
        run(Job("crd", steps=500))
    assert asked == [(500, 500), (300, 300)]
    asked.clear()
    with pytest.raises(ValueError, match="--steps 200: 200 are taken before"):
        run(Job("crd", steps=200))


def test_interval_by_hand():
    found = figure([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    assert found.half == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)
    assert figure([0.1]).half is None


def test_no_places_where_intervals_overlap():
    runs = []
    for slug, values in {"a": (0.90, 0.91), "b": (0.10, 0.50), "c": (0.30, 0.31), "d": (0.99,)}.items():
        runs += [line("simclr", seed, knn) | {"slug": slug} for seed, knn in enumerate(values)]
    assert places(rows_of(runs)) == {"a": "1-2", "b": "1-3", "c": "2-3"}
    runs = [run for run in runs if run["slug"] != "b"]
    assert places(rows_of(runs)) == {"a": "1", "c": "2"}


def test_labels_have_a_table_of_their_own(tmp_path):
    runs = [line("raw pixels"), line("simclr", 0, 0.8), line("simclr", 1, 0.81), line("supcon", labels=True, knn=0.9)]
    page = markdown(rows_of(runs), "digits", "180 seconds of one core")
    without, with_labels = page.split("## Trained with labels")
    assert "| `simclr` | 2 | 1 | 0.805 ± 0.064 |" in without
    assert "supcon" not in without
    assert "| `supcon` | 1 |  | 0.900 |" in with_labels
    assert without.count("raw pixels") == with_labels.count("raw pixels") == 1
    page, chart = write_report(runs, tmp_path, "a")
    assert chart.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="one data set"):
        write_report([*runs, line("dcl") | {"data": "others"}], tmp_path, "a")


def test_recipes_on_other_data_stand_in_a_study_or_say_why_not():
    told = elsewhere()
    assert {"supremix", "msc", "geo-ssl", "sbcl", "selecmix", "neural-arch-embeddings", "conr"} <= told.keys()
    assert "simclr" not in told
    assert told["sbcl"] == "in the study `long-tail`"
    assert told["conr"] == told["supremix"] == "in the study `regression`"
    assert told["selecmix"] == "in the study `bias`"
    assert told["simcse"] == "in the study `texts`", "every recipe on texts is"
    assert "`texts`" in told["text-search"]
    assert "`FashionMNISTDataModule`, a part of it (`classes`)" in told["msc"]
    assert "`PlacesDataModule`" in told["geo-ssl"]
    assert "not features" in told["pcl-sr"]
    images = {"FashionMNIST", "Digits", "Places", "Architecture", "Coloured"}
    assert sum("in no study" in line and any(f"`{one}Data" in line for one in images) for line in told.values()) <= 5
    page = markdown(rows_of([line("simclr", 0, 0.8)]), "digits", "180 seconds of one core")
    assert all(f"- `{slug}`: {why}." in page for slug, why in told.items())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["simcrl"], "nearest: simclr"),
        (["simclr", "--budget=0"], "--budget"),
        (["simclr", "--steps=-1"], "--steps"),
        (["simclr", "--seeds=0"], "--seeds"),
        (["platonic-mknn"], "not a recipe"),
        (["package-search"], "on other data"),
        (["pcl-sr"], "pictures, not features"),
        ([], "give recipes by name"),
        (["simclr", "--study=refresh"], "give recipes by name"),
        (["simclr", "--data=D", "dcl"], "recipes come first"),
    ],
)
def test_wrong_arguments(args, words):
    with pytest.raises(UserError, match=words):
        evidence.main(args)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evidence, "_alone", run)
    out = ["--steps=1", f"--out={tmp_path}", *DIGITS]
    assert evidence.main(["dcl", *out]) == 0
    assert "[3/3] dcl, seed 0: kNN" in capsys.readouterr().out
    assert evidence.main(["dcl", *out]) == 0
    assert capsys.readouterr().out.count("kept") == 3
    assert "`dcl`" in (tmp_path / "evidence.md").read_text()


def test_a_run_in_a_process_of_its_own():
    alone = evidence._alone(Job("raw pixels", others=DIGITS))
    assert alone == run(Job("raw pixels", others=DIGITS))
