"""Commands that run in one process, whatever the settings of a run's Trainer."""

from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn

ONE_PROCESS = ("--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto")


def in_one_process(command: str, args: Sequence[str]) -> list[str]:
    """The options with those for one process behind them; what was asked for in vain is told.

    Args:
        command: its name.
        args: options as for ``fit``.
    """
    alone = dict(option.split("=") for option in ONE_PROCESS)
    given = [word.partition("=") for word in args]
    values = [value if is_ else after for (_, is_, value), after in zip(given, [*args, ""][1:], strict=True)]
    told = [name for (name, _, _), value in zip(given, values, strict=True) if alone.get(name, value) != value]
    if told:
        rank_zero_warn(
            f"{', '.join(dict.fromkeys(told))}: {command} runs in one process. `embed --trainer.devices N` encodes on several; "
            "`evaluate --embeddings` scores what it wrote."
        )
    return [*args, *ONE_PROCESS]
