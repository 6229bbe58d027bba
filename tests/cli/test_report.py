"""``report``: what the page holds, what it loads, and what it makes of broken folders."""

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from lightning_contrast.cli.main import main
from lightning_contrast.cli.report import command
from lightning_contrast.cli.report.charts import panels_of
from lightning_contrast.cli.report.findings import findings
from lightning_contrast.cli.report.items import Items, by_file, items_of
from lightning_contrast.cli.report.look import interval, looked, wilson
from lightning_contrast.cli.report.map_data import aligned
from lightning_contrast.cli.report.page import json_in_html, page_of
from lightning_contrast.cli.report.pictures import sheet
from lightning_contrast.cli.report.run_folder import RunFolder, named, read_run
from lightning_contrast.cli.report.settings import differing, flattened
from lightning_contrast.cli.report.words import words_of

EVIL = '<script>alert(1)</script><img src="http://evil.example/x.png">'
METRICS = "epoch,step,train/loss,geometry/chance,queue/fill,mining/chance,mine\n" + "".join(
    f"0,{s},{5 / (1 + s)},5.5,{10 * s},0.1,{s}\n" for s in range(80)
)


class Page(html.parser.HTMLParser):
    """What a browser would see without running anything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside, self.ids, self.words, self.data, self.charts, self.tags = [], set(), "", {}, [], []
        self._in: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self._in = given.get("id") if tag == "script" else tag
        self.ids.add(given.get("id"))
        self.outside += [
            v for k, v in attrs if k in ("src", "href", "srcset", "action", "data") and not v.startswith(("#", "data:"))
        ]
        self.charts += [k for k in given if k.startswith("data-") and k.split("-")[1] in ("panel", "scores", "map")]

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in == "data":
            self.data = json.loads(data)
        elif self._in not in ("plotly", "style", None) or self._in is None:
            self.words += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a blink, with everything that a run records."""
    import yaml

    from tests.cli.conftest import TINY

    root = tmp_path_factory.mktemp("report")
    config = {**TINY, "trainer": {**TINY["trainer"], "max_steps": 12, "log_every_n_steps": 2, "callbacks": [
        {"class_path": "GeometryMonitor"}, {"class_path": "OnlineKNN"}]}}  # fmt: skip
    (root / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(root / "tiny.yaml"), "--trainer.default_root_dir", str(root / "runs")]) == 0
    return next((root / "runs").glob("*/*"))


@pytest.fixture
def bare(tmp_path):
    """A folder with metrics and nothing else."""
    folder = tmp_path / "runs" / "bare" / "1"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(METRICS)
    return folder


def report(*args):
    assert main(["report", *map(str, args)]) == 0


@pytest.fixture(scope="module")
def page(run):
    report(run, "--sample=120")
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_a_run_records_what_the_report_needs(run):
    record = json.loads((run / "run.json").read_text())
    assert record["command"].startswith("lightning-contrast fit --config ")
    assert record["state"] == "finished"
    assert record["step"] == 12
    assert record["environment"]["torch"] == torch.__version__ or record["environment"]["torch"]
    assert [b["step"] for b in json.loads((run / "scores.json").read_text())["bins"]] == [0, 1, 3, 5, 7, 9, 11]
    with np.load(run / "snapshots.npz") as held:
        assert held["embedding"].shape[:2] == (len(held["step"]), len(held["label"]))


def test_nothing_comes_from_outside(run, page):
    assert page.outside == []
    text = (run / "report.html").read_text(encoding="utf-8")
    before = text[: text.index('id="plotly"')] + text[text.index("</script>", text.index('id="plotly"')) :]
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", before.lower().replace("http-equiv", ""))
    assert not re.findall(r"url\((?!data:)|@import", before)
    assert len(text.encode()) < 20_000_000


def test_every_section_has_its_data(page):
    sections = {"glance", "figures", "curves", "scores", "map", "neighbours", "errors", "settings", "environment"}
    assert sections <= page.ids
    data = page.data
    titles = {p["title"]: p for p in data["panels"]}
    assert {"Loss beside chance", "Held-out accuracy", "Directions in use", "Temperature"} <= set(titles)
    assert {s["name"] for s in titles["Loss beside chance"]["series"]} >= {"train/loss", "val/loss", "geometry/chance"}
    assert all(s["x"] and len(s["x"]) == len(s["y"]) for p in data["panels"] for s in p["series"])
    assert len(data["scores"][0]) == 7
    (found,) = data["maps"]
    assert (
        len(found["x"]) == len(found["y"]) == len(found["label"]) == len(found["cluster"]) == len(found["error"]) == 120
    )
    assert found["sheet"] == 0
    assert len(data["snapshots"][0]["points"]) == len(data["snapshots"][0]["steps"])
    for told in (
        "lightning-contrast fit --config",
        "120 of",
        "precision@1",
        "model.encoder",
        "first neighbours are wrong",
    ):
        assert told in page.words.replace("​", ""), told


def test_two_runs_and_what_differs(run, tmp_path):
    other = tmp_path / "runs" / "other" / "1"
    shutil.copytree(run, other)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("temperature: 0.2", "temperature: 0.7"))
    out = tmp_path / "deep" / "both.html"
    report(run, tmp_path / "runs", "--out", out, "--no_embed")  # a parent: its newest run
    text = out.read_text(encoding="utf-8")
    assert "<td><code>0.2</code></td><td><code>0.7</code></td>" in text
    found = Page(text)
    assert len(set(found.data["runs"])) == 2
    assert {s["run"] for s in found.data["panels"][0]["series"]} == {0, 1}
    assert len(found.data["maps"]) == 2, "the recorded samples stand in for the checkpoint"


def test_only_metrics(bare):
    report(bare)
    found = Page((bare / "report.html").read_text())
    assert found.data["maps"] == []
    titles = [p["title"] for p in found.data["panels"]]
    assert titles == ["Loss beside chance", "Queue: fill", "Mined batches", "mine"]
    assert found.data["panels"][0]["series"][0]["smooth"] is not None
    assert "there is no checkpoints" in found.words.lower()
    assert not {"map", "neighbours", "errors", "scores", "figures"} & found.ids


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("metrics.csv", "epoch,step,train/loss\n0,1,2.5\n0,2,nan\n0,3", "cut short"),
        ("metrics.csv", "epoch,step,train/loss\n0,1,2.5\n0,2,nan\n", "Not finite at some steps"),
        ("metrics.csv", "", "has no column 'step'"),
        ("metrics.csv", "step,train/loss\n", "no figures yet"),
        ("config.yaml", "a: [1, 2", "config.yaml cannot be read"),
        ("run.json", '{"command": "light', "run.json cannot be read"),
        ("checkpoints/last.ckpt", "no checkpoint at all", "could not be used"),
        ("embeddings.npz", "PK half a zip", "embeddings.npz cannot be read"),
        ("snapshots.npz", "", "snapshots.npz cannot be read"),
        ("scores.json", '{"bins": [{"step": 1}, 5]}', "there is no checkpoints"),
    ],
)
def test_broken_files_degrade(bare, name, content, told):
    path = bare / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    report(bare)
    found = Page((bare / "report.html").read_text())
    assert told.lower() in found.words.lower()
    assert "Traceback" not in found.words
    assert all(p["series"] for p in found.data["panels"])
    assert not any(found.data["scores"])


def test_a_checkpoint_of_another_library(bare):
    (bare / "config.yaml").write_text("model: {class_path: nobody.knows.This}\n")
    (bare / "checkpoints").mkdir()
    torch.save({"weights": torch.zeros(2)}, bare / "checkpoints" / "last.ckpt")
    report(bare)
    assert "the checkpoint could not be used" in (bare / "report.html").read_text().lower()


def test_a_run_without_metrics(run, tmp_path):
    """The checkpoint is there, the curves are not: the rest of the page is."""
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "metrics.csv").unlink()
    report(folder, "--sample=60")
    found = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert found.data["panels"] == []
    assert "metrics.csv" in found.words
    assert found.data["maps"]
    assert "Traceback" not in found.words


@pytest.mark.parametrize("change", ["missing weights", "other shapes", "newer Lightning"])
def test_a_checkpoint_of_another_version(run, tmp_path, change):
    """Weights that do not fit are told, not guessed; those that fit are used."""
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "checkpoints" / "last.ckpt"
    held = torch.load(path, weights_only=True)
    name = next(name for name in held["state_dict"] if name.startswith("encoder."))
    if change == "missing weights":
        held["state_dict"]["encoder.of_old"] = held["state_dict"].pop(name)
    elif change == "other shapes":
        held["state_dict"][name] = torch.zeros(3, 5)
    else:
        held["pytorch-lightning_version"] = "99.0.0"
    torch.save(held, path)
    report(folder, "--sample=60")
    found = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert ("checkpoint could not be used" in found.words) == (change != "newer Lightning")
    assert "Traceback" not in found.words
    assert found.data["panels"]


@pytest.mark.parametrize("missing", ["nowhere", "empty"])
def test_no_run_is_told(tmp_path, capsys, missing):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / missing)]) == 2
    assert missing in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.html"))


def test_wrong_words_are_told(bare, capsys):
    assert main(["report", str(bare), "--sample=2"]) == 2
    assert main(["report", str(bare), str(bare)]) == 2
    assert main(["report", str(bare), "--out", str(bare)]) == 2
    assert main(["report", str(bare), "--colour", "red"]) == 2
    assert main(["report"]) == 2
    assert "RUN_DIR" in capsys.readouterr().err
    assert main(["report", str(bare / "metrics.csv")]) == 2
    assert "metrics.csv: is a file; give the run folder it lies in" in capsys.readouterr().err
    assert main(["report", "--no_embed"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def embeddings(folder, **arrays):
    np.savez(folder / "embeddings.npz", **arrays)
    return items_of(RunFolder(folder, "run"), 50, 0, [], blind=True)


def test_a_sample_of_a_large_file_equals_its_rows(tmp_path):
    z = np.arange(2_000_000, dtype=np.float32).reshape(-1, 2)  # several blocks
    items = embeddings(tmp_path, embedding=z, index=np.arange(len(z)), label=np.arange(len(z)) % 3)
    assert items.total == len(z)
    assert len(items.z) == 50
    assert np.array_equal(items.z.numpy(), z[items.index.numpy()])
    assert torch.equal(items.label, items.index % 3)


def test_rows_that_do_not_match_the_labels(tmp_path):
    z = np.eye(8, dtype=np.float32)
    items = embeddings(tmp_path, embedding=z, index=np.arange(8), label=np.arange(5))
    assert items.label is None
    assert "label [5]" in items.notes[0]
    np.savez(tmp_path / "other.npz", z=z)
    with pytest.raises(ValueError, match="no 'embedding'"):
        by_file(tmp_path / "other.npz", 5, 0)


@pytest.mark.parametrize("kind", ["nan rows", "one class", "no class", "collapsed", "three", "two"])
def test_degenerate_embeddings(bare, kind):
    rng = np.random.default_rng(0)
    z, label = rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
    if kind == "nan rows":
        z[3:7] = np.nan
    elif kind == "one class":
        label[:] = 1
    elif kind == "no class":
        label[:] = -1
    elif kind == "collapsed":
        z[:] = 1
    elif kind in ("three", "two"):
        z, label = z[: 3 - (kind == "two")], label[: 3 - (kind == "two")]
    np.savez(bare / "embeddings.npz", embedding=z, index=np.arange(len(z)), label=label)
    report(bare)
    found = Page((bare / "report.html").read_text())
    if kind == "two":
        assert found.data["maps"] == []
        assert "only 2 usable" in found.words.lower()
        return
    (drawn,) = found.data["maps"]
    assert len(drawn["x"]) == {"nan rows": 26, "three": 3}.get(kind, 30)
    told = {"nan rows": "4 of 30 embeddings are not finite", "one class": "fewer than two classes"}.get(kind, "")
    assert told in found.words.lower()
    assert bool(drawn["error"]) == (kind in ("nan rows", "collapsed", "three"))


def items(**more):
    z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [1.0, 0.05]])
    return Items(z, 5, "five", torch.arange(5), **more)


def test_texts_names_and_settings_are_escaped(tmp_path):
    run = RunFolder(
        tmp_path, EVIL, {"name": EVIL, EVIL: EVIL}, {EVIL: [(0.0, 1.0)]}, {"command": EVIL, "environment": {EVIL: EVIL}}
    )
    run.results = {"results": {EVIL: {EVIL: 0.5}}, "samples": 10, "data": EVIL}
    run.notes = [EVIL]
    shown = items(label=torch.tensor([0, 0, 1, 1, 1]), texts=[EVIL] * 5, names=[EVIL, EVIL])
    shown.source = EVIL
    found = Page(page_of([run], [looked(shown)]))
    assert found.tags.count("script") == 3, "data, the library and the page's own"
    assert "img" not in found.tags
    assert found.outside == []
    assert found.words.count("alert(1)") > 10, "shown as text"
    assert found.data["maps"][0]["texts"] == [EVIL] * 5
    assert "</" not in json_in_html({"a": "</script>"})


def test_errors_neighbours_and_figures_by_hand():
    found = looked(items(label=torch.tensor([0, 0, 1, 1, 1])))
    unit = torch.nn.functional.normalize(found.items.z, dim=1)
    s = unit @ unit.T
    assert found.row[4].tolist() == [0, 1, 3, 2]
    torch.testing.assert_close(found.score[4], s[4, found.row[4]])
    assert found.errors(9) == [4, 0, 1]  # the surest first
    assert found.margin[4].item() == pytest.approx(float(s[4, 0] - s[4, 3]), abs=1e-6)
    assert found.figures["precision@1"].value == pytest.approx(2 / 5)


def test_pairs_look_for_their_partners():
    query, key = torch.eye(4), torch.eye(4)[[1, 0, 2, 3]]
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    found = looked(Items(z, 4, "pairs", torch.arange(4), pairs=(query, key)))
    assert found.row[:, 0].tolist() == [1, 0, 2, 3]
    assert found.right.tolist() == [False, False, True, True]
    assert found.figures["recall@1"].value == 0.5


TEXTS = [{"query": f"question {i}", "document": f"{EVIL} answer {i} " + "x" * 400, "index": i} for i in range(4)]


def pairs_of_texts():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
    texts, partners = words_of(TEXTS, range(4))
    found = Items(
        z, 4, "texts", torch.arange(4), torch.tensor([7, 7, 8, 9]), (torch.eye(4), torch.eye(4)[[1, 2, 0, 3]])
    )
    found.texts, found.partners = texts, partners
    return found


def test_texts_of_the_data_set_beside_what_they_found(tmp_path):
    """Tokens say nothing to a person: a query is shown in words, and so is the document that it found."""
    found = Page(page_of([RunFolder(tmp_path, "texts")], [looked(pairs_of_texts())]))
    (drawn,) = found.data["maps"]
    assert drawn["texts"] == [f"question {i}" for i in range(4)]
    assert drawn["partners"][0].startswith(f"{EVIL} answer 0 xx")
    assert len(drawn["partners"][0]) == 300
    assert drawn["partners"][0].endswith("…")
    assert drawn["group"] == [7, 7, 8, 9]
    assert "✓ belongs to it" in found.words
    wrong = found.words[found.words.index("first neighbours are wrong") :]
    assert "question 0" in wrong[: wrong.index("answer 2")], "query 0 found the document of item 2"
    assert found.tags.count("script") == 3
    assert "img" not in found.tags
    assert "MRR@10 is" in found.words


def test_words_of_other_data():
    assert words_of([{"views": ["a text", "c"]}], [0]) == (["a text"], None)
    assert words_of([{"input": torch.zeros(3)}], [0]) == (None, None)
    assert words_of(None, [0]) == words_of([], []) == (None, None)


def test_search_beside_words_and_beside_nothing(tmp_path):
    run = RunFolder(tmp_path, "search", curves={"val/ndcg@10": [(1.0, 0.4)], "val/ndcg@10_untrained": [(1.0, 0.3)]})
    assert [f.mood for f in findings(run, None)] == ["good"]
    run.curves["val/ndcg@10_bm25"] = [(1.0, 0.5)]
    (told,) = findings(run, None)
    assert told.mood == "warn"
    assert "0.40 on validation queries, where it was 0.30 before training, and 0.50 by words" in told.text
    assert [p["title"] for p in panels_of([run])] == ["Search"]


def test_a_text_run_beside_an_image_run(tmp_path):
    """Each keeps what it has: pictures and classes here, texts and partners there."""
    shown = items(label=torch.tensor([0, 0, 1, 1, 1]), pictures=torch.rand(5, 1, 4, 4))
    runs = named([RunFolder(tmp_path / "a", "one"), RunFolder(tmp_path / "b", "one")])
    found = Page(page_of(runs, [looked(shown), looked(pairs_of_texts())]))
    assert found.data["runs"] == ["one a", "one b"], "two runs of one name are told apart"
    image, text = found.data["maps"]
    assert image["label"]
    assert not image["texts"]
    assert text["texts"]
    assert not text["label"]
    assert "✓ belongs to it, ✗ does not or ✓ same class, ✗ another" in found.words


def test_intervals():
    told = wilson(0.5, 100)
    assert (told.low, told.high) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Wilson 1927, n = 100
    drawn = interval(np.repeat([0.0, 1.0], 200), 0)
    assert drawn.value == 0.5
    assert (drawn.low, drawn.high) == pytest.approx((0.451, 0.549), abs=0.01)  # 1.96 sqrt(0.25 / 400)


def test_settings_by_name():
    a = flattened({"model": {"class_path": "x.M", "init_args": {"k": 1, "e": {"class_path": "y.E", "init_args": {}}}}})
    assert a == {"model": "M", "model.k": "1", "model.e": "E"}
    assert differing([a, {**a, "model.k": "2", "new": "1"}]) == ["model.k", "new"]


def test_snapshots_are_turned_not_stretched():
    last = torch.randn(40, 6)
    turn = torch.linalg.qr(torch.randn(6, 6)).Q
    first, second = aligned(torch.stack([last @ turn, last]))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_a_sheet_holds_every_picture():
    import base64
    import io

    from PIL import Image

    pictures = (torch.arange(5).float() / 5)[:, None, None, None].expand(5, 1, 4, 4)
    made = sheet(pictures)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.uri.partition(",")[2]))))
    for number in range(5):
        r, c = divmod(number, made.columns)
        assert shown[r * 4 + 1, c * 4 + 1] == round(number / 5 * 255)
    assert (sheet(torch.rand(2, 3, 200, 100)).width, sheet(torch.rand(2, 3, 200, 100)).height) == (28, 56)


def test_a_large_page_takes_fewer_items(bare, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "look_at", lambda run, sample, *_: asked.append(sample))
    monkeypatch.setattr(command, "page_of", lambda runs, looks: "x" * (command.LIMIT * asked[-1] // 400))
    text = command.fitting_page([read_run(bare)], 1000, 0, [])
    assert asked == [1000, 500, 250]
    assert len(text) < command.LIMIT


CHROMIUM = next((c for c in ("chromium", "chromium-browser", "google-chrome", "chrome") if shutil.which(c)), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not opened in a real browser")
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_real_browser(run, page, tmp_path, width):
    """The script runs to its end, every chart is drawn, nothing is wider than the window."""
    probe = (
        "<script>addEventListener('load',()=>setInterval(()=>{document.title=JSON.stringify({ready:document."
        "documentElement.dataset.ready,drawn:[...document.querySelectorAll('.chart')].map(c=>c.querySelectorAll("
        "'.trace').length),wide:document.documentElement.scrollWidth-innerWidth})},50))</script></body>"
    )
    path = tmp_path / "probed.html"
    path.write_text((run / "report.html").read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--window-size={width},900",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    told = json.loads(re.search(r"<title>(.*?)</title>", done.stdout)[1])
    assert told["ready"] == "true", done.stderr[-2000:]
    assert told["wide"] <= 0
    shown = [n for n in told["drawn"] if n]
    assert len(shown) >= len([p for p in page.data["panels"] if not p["more"]]) + 4  # scores, bands, map, snapshots
