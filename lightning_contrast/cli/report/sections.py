"""The sections of the page as HTML; everything that comes from a run is escaped."""

from html import escape
from typing import Any, NamedTuple

from lightning_contrast.cli.report import show, tables
from lightning_contrast.cli.report.findings import findings
from lightning_contrast.cli.report.look import Look
from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.cli.report.show import Shelf

SIGNS = {"good": "✓", "warn": "!", "bad": "✗", "info": "i"}
QUERIES = 6  # items whose neighbours are shown
ERRORS = 12


class Section(NamedTuple):
    """A part of the page."""

    key: str
    title: str
    html: str


def all_of(
    runs: list[RunFolder], looks: list[Look | None], sheets: list[int], shelf: Shelf, data: dict[str, Any]
) -> list[Section]:
    """Those that have something to show."""
    made = [
        ("glance", "At a glance", glance(runs, looks)),
        ("figures", "Figures", tables.figures(runs, looks)),
        ("curves", "Training", curves(data["panels"])),
        ("scores", "Similarities", scores(runs, data["scores"])),
        ("map", "Map", maps(runs, looks, data)),
        ("neighbours", "Neighbours", neighbours(runs, looks, sheets, shelf)),
        ("errors", "Worst errors", errors(runs, looks, sheets, shelf)),
        ("settings", "Settings", tables.settings(runs)),
        ("environment", "Command", tables.environment(runs)),
    ]
    return [
        Section(
            key, title, f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{title}</h2>{html}</section>'
        )
        for key, title, html in made
        if html
    ]


def glance(runs: list[RunFolder], looks: list[Look | None]) -> str:
    """Whether each run is healthy, and what could not be shown."""
    cards = []
    for number, (run, look) in enumerate(zip(runs, looks, strict=True)):
        found = findings(run, look)
        items = [
            f'<li class="{one.mood}"><b aria-label="{one.mood}">{SIGNS[one.mood]}</b><span>{escape(one.text)}</span></li>'
            for one in found
        ]
        items += [
            f'<li class="warn"><b aria-label="note">!</b><span>{escape(note[:1].upper() + note[1:])}</span></li>'
            for note in run.notes
        ]
        if not items:
            items = ["<li><span>Nothing was logged that says how healthy this run is.</span></li>"]
        cards.append(
            f'<article class="run">{run_name(run, number)}<ul class="findings">{"".join(items)}</ul></article>'
        )
    return f'<div class="runs">{"".join(cards)}</div>'


def run_name(run: RunFolder, number: int, level: int = 3) -> str:
    """A run's name with its colour."""
    return f'<h{level}><i class="dot" data-run="{number}"></i>{escape(run.name)}</h{level}>'


def curves(panels: list[dict[str, Any]]) -> str:
    """Places for the charts, each with its figures as a table."""
    if not panels:
        return ""
    main = [figure(number, panel) for number, panel in enumerate(panels) if not panel["more"]]
    more = [figure(number, panel) for number, panel in enumerate(panels) if panel["more"]]
    out = f'<div class="grid">{"".join(main)}</div>'
    if more:
        out += f'<details><summary>{len(more)} more logged figure{"" if len(more) == 1 else "s"}</summary><div class="grid">{"".join(more)}</div></details>'
    return out


def figure(number: int, panel: dict[str, Any]) -> str:
    """One chart's place."""
    rows = [
        f"<tr><th scope=row>{escape(s['name'])}</th><td>{s['run'] + 1}</td><td>{s['y'][0]:.4g}</td><td>{s['y'][-1]:.4g}</td>"
        f"<td>{min(s['y']):.4g}</td><td>{max(s['y']):.4g}</td></tr>"
        for s in panel["series"]
    ]
    return (
        f"<figure><figcaption><b>{escape(panel['title'])}</b><span>{escape(panel['words'])}</span></figcaption>"
        f'<div class="chart" data-panel="{number}" role="img" aria-label="{escape(panel["title"])}; figures in the table"></div>'
        f"<details><summary>As a table</summary><div class=scroll tabindex=0><table><thead><tr><th>figure<th>run<th>first<th>last<th>least"
        f"<th>most</thead><tbody>{''.join(rows)}</tbody></table></div></details></figure>"
    )


def scores(runs: list[RunFolder], held: list[list[dict[str, Any]]]) -> str:
    """Histograms with a slider over training."""
    if not any(held):
        return ""
    parts = []
    for number, run in enumerate(runs):
        if not held[number]:
            continue
        parts.append(
            f'<figure><figcaption>{run_name(run, number)}</figcaption><div class="chart" data-scores="{number}" role="img" '
            f'aria-label="Histograms of similarities"></div><label class="slide">Step <output></output>'
            f'<input type="range" min="0" max="{len(held[number]) - 1}" value="{len(held[number]) - 1}" '
            f'data-slide="scores" data-run="{number}" aria-label="Training step of the histogram, {escape(run.name)}"></label>'
            f'<div class="chart low" data-bands="{number}" role="img" aria-label="Median and range of similarities"></div></figure>'
        )
    return (
        "<p>How similar anchors are to their positives and to their negatives, in a sample of the training batch. "
        "Training should pull the two apart. Move the slider to go through training; below it, the median "
        f'and where nine tenths lie.</p><div class="grid wide">{"".join(parts)}</div>'
    )


def maps(runs: list[RunFolder], looks: list[Look | None], data: dict[str, Any]) -> str:
    """Maps of the items, and of the samples recorded through training."""
    shown = [one["run"] for one in data["maps"]]
    out = ""
    if shown:
        kinds = [("label", any(m["label"] for m in data["maps"])), ("cluster", True),
                 ("error", any(m["error"] for m in data["maps"]))]  # fmt: skip
        first = next(kind for kind, there in kinds if there)
        buttons = "".join(
            f'<label><input type="radio" name="colour" value="{kind}"{" checked" if kind == first else ""}>'
            f"<span>{kind}</span></label>"
            for kind, there in kinds
            if there
        )
        told = sampling(runs, looks)
        out += (
            f"<p>Each point is a held-out item; near ones look alike to the encoder (t-SNE after PCA: near is meaningful, far "
            f"is not). Point at one to see it, choose it to see its neighbours; the wheel zooms. "
            f"By keys: left and right choose, + and - zoom, Escape lets go. {told}</p>"
            f'<fieldset class="pick"><legend>Colour by</legend>{buttons}</fieldset>'
            f'<div class="grid wide">{"".join(map_place(runs[run], run, number) for number, run in enumerate(shown))}</div>'
        )
    if data["snapshots"]:
        parts = [
            f'<figure><figcaption>{run_name(runs[one["run"]], one["run"])}</figcaption><div class="chart" '
            f'data-snapshot="{number}" role="img" aria-label="The same items through training"></div>'
            f'<label class="slide">Step <output></output><input type="range" min="0" max="{len(one["steps"]) - 1}" '
            f'value="{len(one["steps"]) - 1}" data-slide="snapshot" data-run="{number}" '
            f'aria-label="Training step of the snapshot, {escape(runs[one["run"]].name)}"></label></figure>'
            for number, one in enumerate(data["snapshots"])
        ]
        out += (
            "<h3>The same items through training</h3><p>Two main directions (PCA) of recorded validation samples, each moment "
            f'turned to fit the next.</p><div class="grid wide">{"".join(parts)}</div>'
        )
    return out


def map_place(run: RunFolder, place: int, number: int) -> str:
    """One map with its buttons and the chosen item."""
    name = escape(run.name)
    return (
        f'<figure class="mapped"><figcaption>{run_name(run, place)}</figcaption>'
        f'<div class="tools"><button type="button" data-zoom="0.6" data-map="{number}" aria-label="Zoom in, {name}">+</button>'
        f'<button type="button" data-zoom="1.6" data-map="{number}" aria-label="Zoom out, {name}">&minus;</button>'
        f'<button type="button" data-zoom="0" data-map="{number}" aria-label="Show all, {name}">all</button>'
        f'<button type="button" data-step="-1" data-map="{number}" aria-label="Previous item, {name}">&lsaquo; item</button>'
        f'<button type="button" data-step="1" data-map="{number}" aria-label="Next item, {name}">item &rsaquo;</button></div>'
        f'<div class="chart tall" data-map-chart="{number}" role="group" tabindex="0" '
        f'aria-label="Map of held-out items, {name}: left and right choose an item, plus and minus zoom, Escape lets go"></div>'
        f'<div class="legend" role="group" aria-label="Groups of the map, {name}: choose one to hide or show it"></div>'
        f'<div class="chosen" data-chosen="{number}" aria-live="polite"></div></figure>'
    )


def sampling(runs: list[RunFolder], looks: list[Look | None]) -> str:
    """What the items are a sample of, in words."""
    told = []
    for run, look in zip(runs, looks, strict=True):
        if look is not None:
            n, total = len(look.items.z), look.items.total
            part = f"all {total:,}" if n == total else f"{n:,} of {total:,}, drawn by a seed,"
            told.append((run.name, f"{part} items of {look.items.source}"))
    if len({text for _, text in told}) == 1:
        return f"Shown: {escape(told[0][1])}."
    return "Shown: " + escape("; ".join(f"{name}: {text}" for name, text in told)) + "."


def neighbours(runs: list[RunFolder], looks: list[Look | None], sheets: list[int], shelf: Shelf) -> str:
    """A few items, evenly spread over the classes or the sample, and what lies nearest."""
    parts = []
    for number, (run, look) in enumerate(zip(runs, looks, strict=True)):
        if look is None or not look.row.shape[1]:
            continue
        rows = [line(look, row, sheets[number], shelf) for row in chosen(look)]
        parts.append(f'<div class="lines">{run_name(run, number)}<div class="rows">{"".join(rows)}</div></div>')
    if not parts:
        return ""
    judged = [look for look in looks if look is not None and look.right is not None]
    told = {
        "✓ belongs to it, ✗ does not" if look.items.pairs is not None else "✓ same class, ✗ another" for look in judged
    }
    return (
        f"<p>An item (left) and what is nearest to it by cosine, the number; {' or '.join(sorted(told)) or 'nothing says what is right'}.</p>"
        f'<div class="runs">{"".join(parts)}</div>'
    )


def chosen(look: Look) -> list[int]:
    """One item of each of the most frequent classes, else evenly spread rows."""
    label = look.items.label
    if label is not None and look.items.pairs is None and bool((label >= 0).any()):
        firsts = [int((label == c).nonzero()[0]) for c in label[label >= 0].unique().tolist()]
        if len(firsts) >= QUERIES:
            return firsts[:: len(firsts) // QUERIES][:QUERIES]
    return [round(i * (len(look.items.z) - 1) / (QUERIES - 1)) for i in range(min(QUERIES, len(look.items.z)))]


def line(look: Look, row: int, sheet: int, shelf: Shelf) -> str:
    """An item and its neighbours."""
    near = []
    for other, score in zip(look.row[row].tolist(), look.score[row].tolist(), strict=True):
        if other >= 0:
            mark, paired = _mark(look, row, other), look.items.pairs is not None
            near.append(show.card(look.items, other, sheet, shelf, f"{score:.2f}", mark, paired))
    return f'<div class="line">{show.card(look.items, row, sheet, shelf)}<div class="near">{"".join(near)}</div></div>'


def _mark(look: Look, row: int, other: int) -> str:
    if look.right is None or not bool(look.known[row]):
        return ""
    label = look.items.label
    same = other == row if look.items.pairs is not None else False
    if label is not None:
        same = same or int(label[row]) == int(label[other])
    return "right" if same else "wrong"


def errors(runs: list[RunFolder], looks: list[Look | None], sheets: list[int], shelf: Shelf) -> str:
    """The surest wrong answers."""
    parts = []
    for number, (run, look) in enumerate(zip(runs, looks, strict=True)):
        if look is None or look.right is None or look.margin is None:
            continue
        wrong = int((look.known & ~look.right).sum())
        pairs = []
        for row in look.errors(ERRORS):
            found = show.card(
                look.items, int(look.row[row, 0]), sheets[number], shelf, f"{float(look.score[row, 0]):.2f}", "wrong",
                look.items.pairs is not None,
            )  # fmt: skip
            gap = f'<span class="gap">by {float(look.margin[row]):.2f}</span>'
            pairs.append(f'<div class="pair">{show.card(look.items, row, sheets[number], shelf)}{gap}{found}</div>')
        share = f"{wrong} of {int(look.known.sum())} first neighbours are wrong."
        parts.append(
            f'<div class="lines">{run_name(run, number)}<p>{share}</p><div class="pairs">{"".join(pairs)}</div></div>'
        )
    if not parts:
        return ""
    return (
        "<p>Items (left) whose nearest other (right) is wrong, the surest first: <i>by</i> is how much more similar it is than "
        f'the nearest right one. Often two that truly are alike, or a wrong label.</p><div class="runs">{"".join(parts)}</div>'
    )
