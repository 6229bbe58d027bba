"""What is trained, part by part, told before the first step."""

from typing import Any

from lightning.pytorch.callbacks import ModelSummary
from rich.console import Console
from rich.table import Table


class Layers(ModelSummary):
    """Lightning's table of the parts without its FLOPs: it counts them only where a module has an example input.

    Everywhere else it shows 0 of each part, which no part costs.
    """

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Prints the table, and the sizes in a line below it."""
        columns = {name: values for name, values in summary_data if name != "FLOPs"}
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            table.add_column(name, justify="right" if "Params" in name else "left")
        for row in zip(*columns.values(), strict=True):
            table.add_row(*row)
        console = Console()
        console.print(table)
        console.print(
            f"{total_parameters:,} parameters, {trainable_parameters:,} of them trained; {model_size:.1f} MB",
            highlight=False,
        )
