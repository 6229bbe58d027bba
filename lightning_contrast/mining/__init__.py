"""Hard negatives for every sample: rules, search, and the file that holds them; inside a run and offline."""

from lightning_contrast.mining.figures import as_table, mined_figures
from lightning_contrast.mining.negatives import Items, Mined, mine
from lightning_contrast.mining.rules import Rules
from lightning_contrast.mining.search import ApproximateSearch, Search, TiledSearch, search_over
from lightning_contrast.mining.table import MinedTable, read_mined, write_mined

__all__ = [
    "ApproximateSearch",
    "Items",
    "Mined",
    "MinedTable",
    "Rules",
    "Search",
    "TiledSearch",
    "as_table",
    "mine",
    "mined_figures",
    "read_mined",
    "search_over",
    "write_mined",
]
