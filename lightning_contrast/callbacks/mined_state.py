"""What a checkpoint says of mined negatives, looked at before it is taken over."""

from collections.abc import Mapping
from typing import Any

from lightning_contrast.callbacks.callback import require_state


def check_mined_state(state_dict: Mapping[str, Any], num_negatives: int, gradient: bool) -> None:
    """Whether a state is that of a :class:`~lightning_contrast.callbacks.HardNegativeRefresh` with these settings.

    Raises:
        ValueError: for a state that is not, is truncated, or has another number of negatives.
    """
    require_state(state_dict, {"last", "index", "table", "z", "step", "figures"}, "HardNegativeRefresh")
    index, table, z = (state_dict[key] for key in ("index", "table", "z"))
    if table is None:
        return
    if table.shape[1] != num_negatives:
        raise ValueError(
            f"HardNegativeRefresh(num_negatives={num_negatives}): the checkpoint has a table of {table.shape[1]} a sample; "
            "use that number, or start without the checkpoint."
        )
    if (z is None) != gradient:
        raise ValueError(f"HardNegativeRefresh(gradient={gradient}): the checkpoint was made without it.")
    ids = state_dict.get("ids", {})
    sizes = {len(column) for column in (index, table, z, *ids.values()) if column is not None}
    if index is None or len(sizes) > 1 or int(table.max()) >= len(table):
        raise ValueError(
            f"HardNegativeRefresh: the checkpoint's table, index and embeddings have {sorted(sizes)} rows: its state is "
            "truncated."
        )
