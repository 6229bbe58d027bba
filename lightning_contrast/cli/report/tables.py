"""Tables of the page: figures with intervals, settings and what differs, environment and command."""

from html import escape
from typing import Any

from lightning_contrast.cli.protocol import COLUMNS
from lightning_contrast.cli.report.look import Figure, Look, wilson
from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.cli.report.settings import differing, flattened


def table(head: list[str], rows: list[list[str]], kind: str = "") -> str:
    """Cells are HTML already; what is wider than the window scrolls, by keys too."""
    top = "".join(f"<th scope=col>{cell}</th>" for cell in head)
    body = "".join(f"<tr><th scope=row>{r[0]}</th>{''.join(f'<td>{cell}</td>' for cell in r[1:])}</tr>" for r in rows)
    return f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def figures(runs: list[RunFolder], looks: list[Look | None]) -> str:
    """Of the sample of held-out items, with 95 % intervals, and what ``results.json`` holds."""
    names = list(dict.fromkeys(name for look in looks if look is not None for name in look.figures))
    head = ["", *(escape(run.name) for run in runs)]
    out = ""
    if names:
        rows = []
        for name in names:
            held = [None if look is None else look.figures.get(name) for look in looks]
            rows.append([escape(name), *cells(held)])
        counts = {len(look.items.z) for look in looks if look is not None}
        out += (
            f"<p>Features of {' or '.join(f'{n:,}' for n in sorted(counts))} held-out items, each looked for among the others. "
            "In brackets the 95 % interval (bootstrap over items, one training run: another seed may differ by more). "
            f"{'Bold is best.' if len(runs) > 1 else ''}</p>{table(head, rows)}"
        )
    for number, run in enumerate(runs):
        out += _results(run, number, len(runs) > 1)
    return out


def cells(held: list[Figure | None]) -> list[str]:
    """Figures of one row; the best stands out where there are several."""
    values = [f.value for f in held if f is not None]
    out = []
    for f in held:
        if f is None:
            out.append("-")
            continue
        best = f.higher is not None and len(values) > 1 and f.value == (max(values) if f.higher else min(values))
        text = f"<b>{f.value:.3g}</b>" if best else f"{f.value:.3g}"
        out.append(text + ("" if f.low is None or f.high is None else f" <small>[{f.low:.3g}, {f.high:.3g}]</small>"))
    return out


def _results(run: RunFolder, number: int, several: bool) -> str:
    rows, samples = run.results.get("results"), run.results.get("samples")
    if not isinstance(rows, dict) or not isinstance(samples, int) or samples < 1:
        return ""
    columns = list(dict.fromkeys(key for row in rows.values() if isinstance(row, dict) for key in row))
    told: list[list[str]] = []
    for name, row in rows.items():
        values = [row.get(key) if isinstance(row, dict) else None for key in columns]
        held = [_share(v, samples, name == "chance") for v in values]
        told.append([escape(str(name)), *("-" if f is None else cells([f])[0] for f in held)])
    title = f"{escape(run.name)}: accuracy" if several else "Accuracy"
    return (
        f"<h3>{title} on {samples:,} held-out items</h3><p>From results.json, with the training split as bank; the interval is "
        f"Wilson's. {escape(str(run.results.get('data', '')))}</p>{table(['', *(escape(COLUMNS.get(c, str(c))) for c in columns)], told, 'results')}"
    )


def _share(value: Any, samples: int, known: bool) -> Figure | None:
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        return None
    return Figure(value) if known else wilson(value, samples)  # chance is not measured: it has no interval


def settings(runs: list[RunFolder]) -> str:
    """What differs first; everything below."""
    held = [flattened(run.config) for run in runs]
    if not any(held):
        return ""
    names = list(dict.fromkeys(name for one in held for name in one))
    head = ["setting", *(escape(run.name) for run in runs)]
    different = differing(held) if len(runs) > 1 else []

    def rows(chosen: list[str]) -> list[list[str]]:
        return [[dotted(n), *(f"<code>{escape(one.get(n, '-'))}</code>" for one in held)] for n in chosen]

    out = ""
    if len(runs) > 1:
        out += (
            f"<h3>What differs</h3>{table(head, rows(different))}" if different else "<p>All settings are the same.</p>"
        )
        title = f"All {len(names)} settings"
    else:
        chief = [n for n in names if n.startswith(("model", "data", "trainer.callbacks", "trainer.max", "seed"))]
        chief = [n for n in chief if held[0].get(n) not in ("none", "{}", "[]")]
        out += table(head, rows(chief))
        title = f"All {len(names)} settings"
    return out + f"<details><summary>{title}</summary>{table(head, rows(names))}</details>"


def dotted(name: str) -> str:
    """A setting's name, which may break at its dots."""
    return f"<code>{escape(name).replace('.', '.<wbr>').replace('_', '_<wbr>')}</code>"


def environment(runs: list[RunFolder]) -> str:
    """The exact command, and where it ran."""
    told = []
    for run in runs:
        command = run.record.get("command")
        if isinstance(command, str):
            told.append(
                f"<h3>{escape(run.name)}</h3><div class=command><pre tabindex=0><code>{escape(command)}</code></pre>"
                f'<button type="button" data-copy aria-label="Copy the command of {escape(run.name)}">copy</button></div>'
            )
    held: list[dict[str, Any]] = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for one in held for name in one))
    rows = [[escape(name), *(escape(str(one.get(name, "-"))) for one in held)] for name in names]
    out = "".join(told) or "<p>These runs did not record their command.</p>"
    return out + table(["", *(escape(run.name) for run in runs)], rows)


def _facts(run: RunFolder) -> dict[str, Any]:
    out: dict[str, Any] = {"folder": run.path}
    keys = {"state": "state", "started": "started", "seconds": "seconds of training", "step": "optimizer steps"}
    out |= {told: run.record[key] for key, told in keys.items() if key in run.record}
    environment = run.record.get("environment")
    return out | (environment if isinstance(environment, dict) else {})
