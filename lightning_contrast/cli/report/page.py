"""The page: sections in order, data, style and script in one file that loads nothing."""

import base64
import gzip
import json
from datetime import datetime, timezone
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from lightning_contrast.cli.report import sections
from lightning_contrast.cli.report.charts import panels_of
from lightning_contrast.cli.report.look import Look
from lightning_contrast.cli.report.map_data import maps_of, snapshots_of
from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.cli.report.show import Shelf
from lightning_contrast.metrics.canvas import COLOURS

HERE = Path(__file__).resolve().parent
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{css}
</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<header>
<div><h1>{title}</h1><p class="sub">{sub}</p></div>
<button id="theme" type="button" aria-label="Switch between light and dark">◐</button>
</header>
<nav aria-label="Sections">{nav}</nav>
<main id="main">
<noscript><p class="note">Charts and the map need JavaScript; tables, neighbours and errors below do not.</p></noscript>
{body}
</main>
<footer>Made by lightning-contrast {version}, {when}. This file is complete in itself: nothing is loaded from elsewhere.</footer>
<script type="application/json" id="data">{data}</script>
{library}
<script>
{js}
</script>
</body>
</html>
"""


def page_of(runs: list[RunFolder], looks: list[Look | None]) -> str:
    """The whole page as HTML.

    Args:
        runs: one or more, of different names.
        looks: at the embeddings of each, in the same order; ``None`` where there is nothing to look at.
    """
    from lightning_contrast import __version__

    shelf = Shelf()
    panels = panels_of(runs)
    sheets = [-1 if look is None else shelf.place(look.items) for look in looks]
    data: dict[str, Any] = {
        "colours": COLOURS,
        "runs": [run.name for run in runs],
        "panels": panels,
        "scores": [run.scores for run in runs],
        "maps": maps_of(runs, looks, sheets, shelf),
        "snapshots": snapshots_of(runs, looks),
    }
    charted = bool(panels or data["maps"] or data["snapshots"] or any(data["scores"]))
    found = sections.all_of(runs, looks, sheets, shelf, data)
    names = ", ".join(run.name for run in runs)
    when = datetime.now(timezone.utc)
    return PAGE.format(
        title=escape(f"Report: {names}" if len(runs) == 1 else f"Comparison: {names}"),
        sub=escape(_sub(runs)),
        css=f"{(HERE / 'page.css').read_text(encoding='utf-8')}\n{shelf.css()}",
        nav="".join(f'<a href="#{one.key}">{escape(one.title)}</a>' for one in found),
        body="\n".join(one.html for one in found),
        version=escape(__version__),
        when=f"{when:%Y-%m-%d %H:%M} UTC",
        data=json_in_html(data),
        library=library() if charted else "",
        js=(HERE / "page.js").read_text(encoding="utf-8"),
    )


def json_in_html(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@lru_cache(1)
def library() -> str:
    """Plotly's JavaScript, compressed: the page's script unpacks it."""
    from plotly.offline import get_plotlyjs

    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
    return f'<script type="text/plain" id="plotly">{packed}</script>'


def _sub(runs: list[RunFolder]) -> str:
    if len(runs) > 1:
        return f"{len(runs)} runs side by side"
    record = runs[0].record
    parts = [str(record[key])[:16].replace("T", " ") for key in ("started",) if record.get(key)]
    if isinstance(record.get("seconds"), (int, float)):
        parts.append(f"{record['seconds']:.0f} seconds of training")
    if record.get("step") is not None:
        parts.append(f"{record['step']} optimizer steps")
    return ", ".join(parts) or runs[0].path.name
