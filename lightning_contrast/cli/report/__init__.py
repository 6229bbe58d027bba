"""``lightning-contrast report``: one HTML file about one run, or several side by side.

Charts are plotly's: its wheel carries the whole of its JavaScript, so that one file can zoom, pan and show an item under
the pointer without anything loaded from outside (an SVG of matplotlib's could do none of it).
"""

from lightning_contrast.cli.report.command import main

__all__ = ["main"]
