"""What ContrastiveModule does before and around training: checks, widths, weights to start from."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lightning_contrast.modules.chunks import batch_norms
from lightning_contrast.regularisers import ListeningRegulariser

if TYPE_CHECKING:
    from lightning_contrast.modules.contrastive import ContrastiveModule


def save_plain_hyperparameters(module: "ContrastiveModule") -> None:
    """Hyper-parameters that load with ``weights_only=True``: from the command line class paths, from Python plain values."""
    frame = inspect.currentframe()
    frame = frame and frame.f_back
    parts: set[str] = set()
    if _given_hyperparameters.get() is None:  # from Python: Lightning would copy whole networks first
        caller = frame
        while caller is not None and caller.f_locals.get("self") is module:
            parts |= {name for name, value in caller.f_locals.items() if _holds_modules(value)}
            caller = caller.f_back
    with warnings.catch_warnings():
        # Lightning advises to ignore modules; the command line needs their class paths, and the rest goes below.
        warnings.filterwarnings("ignore", message="Attribute .* is an instance of `nn.Module`")
        module.save_hyperparameters(logger=False, frame=frame, ignore=list(parts - {"self"}))
    module.remove_ignored_hparams(
        [k for k, v in module.hparams.items() if _holds_modules(v) or isinstance(v, type) or callable(v)]
    )


def _holds_modules(value: Any) -> bool:
    return isinstance(value, nn.Module) or (isinstance(value, list) and any(isinstance(v, nn.Module) for v in value))


def check_callbacks(module: "ContrastiveModule") -> None:
    """Callbacks of the other package have other base classes and fail in odd ways: say so at once."""
    trainer: Any = module.trainer
    for callback in trainer.callbacks:
        if not isinstance(callback, pl.Callback):
            raise TypeError(
                f"{type(callback).__module__}.{type(callback).__name__} is no lightning.pytorch.Callback. Import it "
                "from lightning.pytorch instead of pytorch_lightning: the two packages' classes do not mix."
            )


def listeners(module: "ContrastiveModule") -> list[ListeningRegulariser]:
    """Terms of the objective that listen to the encoder."""
    return [part for part in module.objective.modules() if isinstance(part, ListeningRegulariser)]


@contextmanager
def listening(module: "ContrastiveModule") -> Iterator[None]:
    """While a batch is encoded in training: terms hear what passes through the encoder."""
    with ExitStack() as stack:
        for term in listeners(module) if module.training else []:
            stack.enter_context(term.listening(module.encoder))
        yield


def check_listeners(module: "ContrastiveModule") -> None:
    """Terms that listen find what they listen to, and a graph behind it.

    Raises:
        ValueError: for another encoder, or one that encodes in chunks.
    """
    for term in listeners(module):
        term.part(module.encoder)
        if module.chunk_size is not None or module.chunk_tokens is not None:
            raise ValueError(
                f"{type(term).__name__} reads what passes through the encoder, of which chunks keep no graph: set chunk_size=None "
                "and chunk_tokens=None."
            )


def check_chunks(module: "ContrastiveModule") -> None:
    """Say what chunks and accumulation mean, once, and refuse chunks where they do not serve."""
    check_listeners(module)
    parts = {name: getattr(module, name) for name in ("encoder", "head", "predictor", "key_encoder", "key_head")}
    found = [name for name, part in parts.items() if part is not None and batch_norms(part)]
    if module.chunk_size is not None and found:
        rank_zero_warn(
            f"chunk_size={module.chunk_size} with BatchNorm in {', '.join(found)}: statistics are taken over one chunk, not the "
            "whole batch, so results differ from chunk_size=None. GroupNorm and LayerNorm are exact."
        )
    if module.trainer.accumulate_grad_batches > 1:
        rank_zero_info(
            f"accumulate_grad_batches={module.trainer.accumulate_grad_batches} averages gradients but adds no "
            "negatives: each micro-batch is contrasted with itself. For more negatives use chunk_size with a larger "
            "batch, or a MemoryQueue."
        )


def shards_parameters(module: "ContrastiveModule") -> bool:
    """Whether the strategy splits parameters over processes, so that a process holds only parts of them."""
    return module._trainer is not None and isinstance(
        module.trainer.strategy, (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy)
    )


def _unfinished(module: nn.Module) -> bool:
    return any(is_lazy(p) for p in module.parameters()) or any(is_lazy(b) for b in module.buffers())


def find_widths(module: "ContrastiveModule", stage: str) -> None:
    """Layers that do not know their input width yet learn it from one real batch.

    Random states, BatchNorm statistics and the place in the data stay as they were. The ring is tried on it too.
    """
    unfinished = _unfinished(module)
    if not unfinished and module.exchange != "ring":
        return
    batch = first_batch(module, stage)
    if batch is None:
        return
    norms = batch_norms(module)
    for norm in norms:
        norm.eval()
    module._probing = True
    try:
        with torch.random.fork_rng(), torch.no_grad():
            if stage == "predict":
                module.predict_step(batch)
            else:
                module.training_step(batch, 0)
    finally:
        module._probing = False
        for norm in norms:
            norm.train()
    if unfinished:
        for teacher in module.teachers().values():
            teacher.follow(module._online())


def first_batch(module: "ContrastiveModule", stage: str) -> Any:
    """One batch, collated by the loader's own function, without touching its sampler."""
    trainer = module.trainer
    loops: dict[str, Any] = {"fit": trainer.fit_loop, "validate": trainer.validate_loop, "test": trainer.test_loop}
    source = loops.get(stage, trainer.predict_loop)._data_source
    with torch.random.fork_rng():
        loader: Any = source.dataloader()
        if isinstance(loader, (list, tuple)):
            loader = loader[0]
        if loader is None:
            return None
        dataset: Any = getattr(loader, "dataset", None)
        if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
            rows = list(range(min(len(dataset), 4)))
            items = dataset.__getitems__(rows) if hasattr(dataset, "__getitems__") else [dataset[i] for i in rows]
            batch = loader.collate_fn(items)
        else:
            batch = next(iter(loader))
        datamodule = getattr(trainer, "datamodule", None)
        if datamodule is not None:
            # Views are made on the device, after the transfer; whoever makes them knows the stage from the Trainer.
            batch = datamodule.on_after_batch_transfer(datamodule.on_before_batch_transfer(batch, 0), 0)
        else:
            batch = module.on_after_batch_transfer(module.on_before_batch_transfer(batch, 0), 0)
    return batch


def start_from(module: "ContrastiveModule") -> None:
    """Load ``init_from`` into encoder, head and towers; what it does not have is reported.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if nothing in it fits.
    """
    if module.init_from is None:
        return
    path = Path(module.init_from)
    if not path.is_file():
        raise FileNotFoundError(
            f"init_from={module.init_from!r}: no such file; give a checkpoint or a file of weights."
        )
    held = torch.load(path, map_location="cpu", weights_only=True)
    weights: Mapping[str, Tensor] = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    own = module.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise ValueError(
            f"init_from={module.init_from!r}: none of its {len(weights)} tensors fits this module. Its names begin with "
            f"{sorted(weights)[:3]}, ours with {sorted(own)[:3]}."
        )
    module.load_state_dict(fitting, strict=False)
    missing = sorted(set(own) - set(fitting))
    rank_zero_info(
        f"init_from: {len(fitting)} of {len(own)} tensors loaded" + (f"; fresh: {missing[:5]}" if missing else "")
    )
    for name, teacher in module.teachers().items():
        if not any(k.startswith(f"{name}.") for k in fitting):
            teacher.follow(module._online())


def set_orphans_aside(module: "ContrastiveModule", checkpoint: dict[str, Any]) -> None:
    """``extras.*`` of callbacks that are not here now would be unexpected keys."""
    state = checkpoint["state_dict"]
    known = tuple(f"extras.{name}." for name in module.extras)
    for key in [k for k in state if k.startswith("extras.") and not k.startswith(known or ("\0",))]:
        del state[key]
