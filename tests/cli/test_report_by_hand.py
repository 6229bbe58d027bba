"""The report in a real browser: clicked, pointed at, zoomed and used by keys, at desktop and phone width."""

import json

import numpy as np
import pytest

from lightning_contrast.cli.main import main
from tests.cli.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: no real browser opens the page")
WIDTHS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of a run with constants, results, two classes that blend, and names of more than one word."""
    folder = tmp_path_factory.mktemp("by_hand") / "run"
    folder.mkdir()
    lines = [f"0,{s},{5 / (1 + s):.4f},5.5,0.1,{s % 7}" for s in range(80)]
    (folder / "metrics.csv").write_text(
        "\n".join(["epoch,step,train/loss,geometry/chance,train/temperature,mine", *lines])
    )
    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    z = np.eye(4, dtype=np.float32)[label] + rng.normal(scale=0.6, size=(60, 4)).astype(np.float32)
    np.savez(folder / "embeddings.npz", embedding=z, index=np.arange(60), label=label)
    bins = [{"step": s, "low": -1.0, "high": 1.0, "positive": [0, 1, 4, 9], "negative": [3, 5, 2, s]} for s in range(4)]
    (folder / "scores.json").write_text(json.dumps({"bins": bins}))
    rows = {name: {"knn": 0.5, "linear": 0.6, "few": 0.4} for name in ("this encoder", "untrained encoder", "chance")}
    (folder / "results.json").write_text(json.dumps({"results": rows, "samples": 10_000}))
    assert main(["report", str(folder), "--no_embed"]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One for all tests of the file."""
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


FOCUSED = "(e => e.dataset.mapChart !== undefined ? 'map' : e.id || e.className || e.name || e.tagName)(document.activeElement)"
RINGED = "getComputedStyle(document.activeElement.name === 'colour' ? document.activeElement.nextElementSibling : document.activeElement).outlineStyle"
MAP = "document.querySelector('[data-map-chart]')"
RANGE = f"{MAP}._fullLayout.xaxis.range"
POINT = f"""(() => {{ const p = {MAP}, t = p._fullData[0], l = p._fullLayout, b = p.getBoundingClientRect();
  return [b.x + l.xaxis._offset + l.xaxis.l2p(t.x[0]), b.y + l.yaxis._offset + l.yaxis.l2p(t.y[0])]; }})()"""


@WIDTHS
def test_nothing_is_cut_and_every_chart_is_drawn(browser, path, width, dark):
    browser.open(path, width, dark=dark, phone=width < 500)
    assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.run("document.querySelector('.results').parentNode.scrollWidth - document.querySelector('.results')"
                       ".parentNode.clientWidth") <= 0, "the table of results fits"  # fmt: skip
    undrawn = "[...document.querySelectorAll('.chart')].filter(c => c.offsetWidth && !c.querySelector('.trace')).length"
    assert browser.run(undrawn) == 0
    assert browser.run("getComputedStyle(document.body).backgroundColor") == ("rgb(20, 23, 29)" if dark else "rgb(255, 255, 255)")  # fmt: skip
    assert "constant: 0.1" in browser.run("document.querySelector('#curves').textContent")
    assert browser.run("[...document.querySelectorAll('.results tr')].at(-1).textContent.includes('[')") is False
    assert browser.faults == []


def test_pointing_clicking_and_zooming(browser, path):
    browser.open(path, 1280)
    browser.click("#theme")
    assert browser.run("document.documentElement.dataset.theme") == "dark"
    browser.place("[data-map-chart]")
    x, y = browser.run(POINT)
    browser.mouse("mouseMoved", x - 2, y)
    browser.mouse("mouseMoved", x, y)
    browser.wait("document.getElementById('tip').style.display === 'block'")
    assert "item" in browser.run("document.getElementById('tip').textContent")
    browser.click_at(x, y)
    browser.wait("document.querySelector('.chosen .near .card')")
    low, high = browser.run(RANGE)
    x, y = browser.place("[data-map-chart]")
    browser.run(f"{MAP}.once('plotly_relayout', () => {{ window.wheeled = true; }}), 0")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    browser.wait(
        "window.wheeled"
    )  # the chart tells so a moment after it was zoomed, and would undo a click before that
    assert browser.run(f"{RANGE}[1] - {RANGE}[0]") < 0.95 * (high - low)
    browser.click("[data-zoom='0']")
    browser.wait(f"Math.abs({RANGE}[1] - {RANGE}[0] - {high - low}) < 0.01")
    before = browser.run(f"{MAP}.querySelectorAll('.trace').length")
    browser.click(".legend .key")
    assert browser.run("document.querySelector('.legend .key').ariaPressed") == "false"
    browser.wait(f"{MAP}.querySelectorAll('.trace').length < {before}")
    browser.click("#curves details summary")
    assert browser.run("document.querySelector('#curves details').open")
    assert browser.faults == []


@WIDTHS
def test_by_keys_alone(browser, path, width, dark):
    browser.open(path, width, dark=dark)
    browser.run("document.activeElement.blur()")
    order = []
    for _ in range(80):
        browser.key("Tab")
        told = browser.run(FOCUSED)
        if told == "BODY":
            break
        order.append(told)
        assert browser.run(RINGED) != "none", f"no focus is seen on {told}"
        if told == "map":
            browser.key("ArrowRight")
            assert browser.run("document.querySelectorAll('.chosen .near .card').length") > 0
            wide = browser.run(f"{RANGE}[1] - {RANGE}[0]")
            browser.key("+")
            browser.wait(f"{RANGE}[1] - {RANGE}[0] < {0.95 * wide}")
            browser.key("Escape")
            assert browser.run("document.querySelectorAll('.chosen .card').length") == 0
        if told == "colour":
            browser.key("ArrowRight")
            assert browser.run("document.querySelector('[name=colour]:checked').value") != "label"
        if told == "INPUT":
            browser.key("ArrowLeft")
            assert browser.run("document.querySelector('.slide output').textContent") == "2"
    assert order[:2] == ["skip", "theme"]
    assert {"map", "colour", "key", "INPUT", "SUMMARY", "scroll"} <= set(order)
    browser.run("document.querySelector('#curves summary').focus()")
    browser.key("Enter")
    browser.wait("document.querySelector('#curves details').open")
    assert browser.faults == []
