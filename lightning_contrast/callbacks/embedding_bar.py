"""A progress bar while samples are embedded, in the style of the Trainer's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def embedding_bar(trainer: Any, total: int, text: str | None) -> Iterator[Callable[[], None]]:
    """Call what it yields after each batch.

    Args:
        trainer: whose bar decides whether and how; only its first process shows one.
        total: batches.
        text: beside the bar; ``None`` is no bar.
    """
    bar = getattr(trainer, "progress_bar_callback", None)
    if text is None or bar is None or not bar.is_enabled or not trainer.is_global_zero:
        yield lambda: None
        return
    rich = getattr(bar, "progress", None)  # of RichProgressBar: a second live display would fight with it
    if rich is not None:
        task = rich.add_task(text, total=total)
        try:
            yield lambda: rich.update(task, advance=1, refresh=True)
        finally:
            rich.remove_task(task)
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=text, leave=False, position=1, dynamic_ncols=True) as line:
        yield lambda: line.update(1) and None
