"""Embedding a data set with the weights of now, on the training processes, without a trace in the training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset

from lightning_contrast.callbacks.embedding_bar import embedding_bar
from lightning_contrast.contrast.exchange import all_sizes, gather_rows, world_size
from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.encoders import Teacher
from lightning_contrast.functional.finite import bad_rows, first_of


def training_source(trainer: Any, who: str) -> DataLoader[Any]:
    """A loader over the training samples: the DataModule's ``bank_dataloader()`` (not augmented), else the training one.

    Raises:
        ValueError: if its data set has no length and items.
    """
    bank = getattr(getattr(trainer, "datamodule", None), "bank_dataloader", None)
    loader: Any = trainer.train_dataloader if bank is None else bank()
    while isinstance(loader, (list, tuple, Mapping)):  # several training loaders: the first
        loader = next(iter(loader.values() if isinstance(loader, Mapping) else loader))
    dataset = getattr(loader, "dataset", None)
    if dataset is None or isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise ValueError(
            f"{who} embeds training samples, but the training data have no length and items "
            f"({type(dataset or loader).__name__}): give the DataModule a bank_dataloader() over a map-style data set."
        )
    return loader


def as_mapping(batch: Any) -> Any:
    """``(input, label)`` by the names of the batch contract, for modules that make their batches themselves."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    return dict(zip(("input", "label"), batch, strict=True)) if pair else batch


def first_input(batch: Mapping[str, Any]) -> Any:
    """What is encoded of a batch: ``input`` where there is one, else the first view, or the first of a pair."""
    return batch["input"] if "input" in batch else next(iter(batch_inputs(batch).values()))


def key_input(batch: Mapping[str, Any]) -> Any:
    """What keys are made from: the second of a pair, else the same as for anchors."""
    if "input" in batch or "views" in batch:
        return first_input(batch)
    return list(batch_inputs(batch).values())[1]


def two_towers(module: Any) -> bool:
    """Whether documents have an encoder of their own, which is trained (a teacher follows the other)."""
    return module.key_encoder is not None and not isinstance(module.key_encoder, Teacher)


def read_sample(
    pl_module: Any, batch: Mapping[str, Any], space: str, weights: str, payload: Sequence[str]
) -> dict[str, Tensor]:
    """Embeddings of a batch on the device, and what is known of it; ``z`` and, in the space of embeddings, ``key``."""
    known = {key: batch[key] for key in payload if isinstance(batch.get(key), Tensor)}
    if space == "feature":
        return {"z": pl_module.embed(first_input(batch)), **known}
    if weights == "teacher":
        z, key = taught(pl_module, pl_module.teacher, batch)
    else:
        z, key = pl_module.project(first_input(batch)), pl_module.project_keys(key_input(batch))
    return {"z": z, "key": key, **known}


def taught(pl_module: Any, teacher: Teacher, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The teacher's embeddings of what is encoded of a batch and of what keys are made from, in the module's chunks."""

    def of(inputs: Any) -> Tensor:
        with torch.no_grad():
            return pl_module._chunked(lambda both: teacher.embed(*both), (inputs, batch["index"]))[0]

    one, two = first_input(batch), key_input(batch)
    z = of(one)
    return z, z if two is one else of(two)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Every layer in evaluation mode, and afterwards as it was (frozen teachers stay in evaluation mode)."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True


@contextmanager
def first_buffers(module: nn.Module) -> Iterator[None]:
    """BatchNorm's statistics of the first process on all of them, and afterwards each has its own again.

    DDP brings them together only in the next forward pass, and checkpoints hold those of the first.
    """
    buffers = [] if world_size() == 1 else list(module.buffers())
    own = [buffer.clone() for buffer in buffers]
    for buffer in buffers:
        dist.broadcast(buffer, 0)
    try:
        yield
    finally:
        for buffer, value in zip(buffers, own, strict=True):
            buffer.copy_(value)


def own_rows(trainer: Any, rows: Tensor) -> Tensor:
    """This process's share of rows ``[N]``, in order.

    Raises:
        ValueError: for fewer rows than processes.
    """
    if len(rows) < trainer.world_size:
        raise ValueError(f"{len(rows)} samples cannot be shared by {trainer.world_size} processes: give more.")
    return rows.tensor_split(trainer.world_size)[trainer.global_rank]


def sample_batch(source: DataLoader[Any]) -> Any:
    """The first sample as a batch of one, read in this process."""
    return next(
        iter(DataLoader(Subset(source.dataset, [0]), collate_fn=source.collate_fn, generator=torch.Generator()))
    )


def loader_over(source: DataLoader[Any], rows: list[int], batch_size: int | None = None) -> DataLoader[Any]:
    """The source's samples of these rows, in order; it draws nothing from the training's generator."""
    return DataLoader(
        Subset(source.dataset, rows),
        batch_size=batch_size or source.batch_size or 256,
        num_workers=source.num_workers,
        collate_fn=source.collate_fn,
        generator=torch.Generator().manual_seed(0),
    )


def gathered(columns: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Columns of all processes, in their order; on every process."""
    if world_size() == 1 or not columns:
        return dict(columns)
    sizes = [n for (n,) in all_sizes(len(next(iter(columns.values()))), device=device)]
    return {key: gather_rows(value, sizes) for key, value in columns.items()}


def embedded(
    trainer: Any,
    pl_module: Any,
    source: DataLoader[Any],
    read: Callable[[Mapping[str, Any]], dict[str, Tensor]],
    rows: Tensor | None = None,
    batch_size: int | None = None,
    text: str | None = None,
) -> dict[str, Tensor]:
    """What ``read`` makes of every sample, in order, complete on every process.

    In evaluation mode, without gradients, in the user's precision; the samples are shared over processes. Random states
    stay as they were.

    Args:
        trainer: the Trainer.
        pl_module: the module.
        source: whose data set, collate function and workers are used.
        read: from a batch on the device to tensors ``[n, ...]``, the same keys every time.
        rows: of the data set; ``None`` is all.
        batch_size: rows at a time; ``None`` is the source's.
        text: beside a progress bar; ``None`` is no bar.

    Raises:
        ValueError: for fewer samples than processes; for ``z`` or ``key`` that are not finite, naming the samples.
    """
    dataset: Any = source.dataset
    mine: list[int] = own_rows(trainer, torch.arange(len(dataset)) if rows is None else rows).tolist()
    parts: list[dict[str, Tensor]] = []
    loader = loader_over(source, mine, batch_size)
    with (
        isolated_random_state(0),
        evaluation_mode(pl_module),
        first_buffers(pl_module),
        torch.no_grad(),
        embedding_bar(trainer, len(loader), text) as advance,
    ):
        for batch in loader:
            with trainer.precision_plugin.forward_context():
                batch = trainer.precision_plugin.convert_input(batch)
                parts.append(read(trainer.strategy.batch_to_device(batch)))
            advance()
    found = gathered(joined_columns(parts), pl_module.device)
    ids = torch.arange(len(dataset)) if rows is None else rows
    for key in {"z", "key"} & set(found):  # of all processes, so that none waits for another
        if len(bad := bad_rows(found[key]).cpu()):
            raise ValueError(
                f"{len(bad)} of {len(ids)} embeddings are not finite (index {first_of(ids.cpu()[bad])}): has the training diverged, "
                "or is something wrong with these samples?"
            )
    return found


def joined_columns(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Batches as one."""
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
