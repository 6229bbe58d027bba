"""What is told when the parts of a ContrastiveModule are wrong or do not fit together."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from lightning_contrast.objectives import Objective
from lightning_contrast.objectives.two_players import TwoPlayerObjective

if TYPE_CHECKING:
    from lightning_contrast.modules.contrastive import ContrastiveModule

_SHAPES = re.compile(r"shape|size|dimension|channels", re.IGNORECASE)


def check_arguments(module: "ContrastiveModule") -> None:
    """Types and ranges of what the constructor was given.

    Raises:
        TypeError: for a part of the wrong kind.
        ValueError: for values out of range.
    """
    for name in ("encoder", "head", "key_encoder", "key_head", "predictor"):
        part = getattr(module, name)
        if not isinstance(part, nn.Module) and (part is not None or name == "encoder"):
            raise TypeError(f"{name} must be an nn.Module, got {_described(part)}.")
    if not isinstance(module.objective, Objective):
        raise TypeError(
            f"objective must be an Objective, such as InfoNCE(temperature=0.1), got {_described(module.objective)}: "
            "subclass lightning_contrast.objectives.Objective for a loss of your own."
        )
    if isinstance(module.objective, TwoPlayerObjective) and not getattr(module, "two_players", False):
        raise TypeError(
            f"{type(module.objective).__name__} has an opponent that {type(module).__name__} would not train: use "
            "AlternatingModule (--model AlternatingModule)."
        )
    for name in ("optimizer", "lr_scheduler"):
        part = getattr(module, name)
        if part is not None and (isinstance(part, Optimizer) or not callable(part)):
            raise TypeError(
                f"{name} must be a function that makes one, such as `lambda parameters: AdamW(parameters, lr=1e-3)` or "
                f"`lambda optimizer: StepLR(optimizer, 10)`, got {_described(part)}: the parameters are known later."
            )
    if module.chunk_size is not None and module.chunk_size < 1:
        raise ValueError(f"chunk_size={module.chunk_size}: must be at least 1, or None to encode the batch at once.")
    if module.chunk_tokens is not None and (module.chunk_tokens < 1 or module.chunk_size is not None):
        raise ValueError(
            f"chunk_tokens={module.chunk_tokens}, chunk_size={module.chunk_size}: a number of tokens from 1, in place of "
            "chunk_size."
        )
    if module.keep_chunks < 0:
        raise ValueError(f"keep_chunks={module.keep_chunks}: must be at least 0.")
    if module.exchange not in ("gather", "ring", "none"):
        raise ValueError(f"exchange={module.exchange!r}: use 'gather', 'ring' or 'none'.")


def applied(role: str, part: Callable[[Any], Any], x: Any) -> Any:
    """``part(x)``, where shapes that do not fit are told with the role of the part.

    Raises:
        ValueError: naming the part and what it was given.
    """
    try:
        return part(x)
    except RuntimeError as error:
        if type(error) is not RuntimeError or not _SHAPES.search(str(error)):
            raise
        shapes = ", ".join(str(list(leaf.shape)) for leaf in tree_leaves(x) if isinstance(leaf, Tensor))
        name = f" {type(part).__name__}" if isinstance(part, nn.Module) else ""
        what = "features of the encoder" if "head" in role else "embeddings" if role == "predictor" else "inputs"
        raise ValueError(
            f"The {role}{name} cannot take {what} of shape {shapes}: {error}. Make its input width that of the {what}."
        ) from error


def check_embeddings(z: Any) -> Tensor:
    """Embeddings of views must be one row a sample.

    Raises:
        TypeError: for what is no tensor.
        ValueError: for another number of dimensions.
    """
    remedy = (
        "override `embed` in a subclass to take what is to be compared, or use ModuleEncoder(output=...) in a "
        "configuration"
    )
    if not isinstance(z, Tensor):
        held = f" with {sorted(z)}" if isinstance(z, Mapping) else ""
        raise TypeError(f"The encoder's output must be features [N, F], got {_described(z)}{held}: {remedy}.")
    if z.dim() != 2:
        raise ValueError(
            f"Embeddings must be [N, D], got {list(z.shape)}: pool or flatten what the encoder gives, or {remedy}."
        )
    return z


def warn_of_untrained(module: "ContrastiveModule") -> None:
    """After the first step: what has a gradient, but no optimizer that knows it, will never change."""
    trainer: Any = module.trainer
    if trainer.global_step != 1:
        return
    known = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
    late = [name for name, p in module.named_parameters() if p.grad is not None and id(p) not in known]
    if late:
        rank_zero_warn(
            f"The optimizer does not know {', '.join(late[:5])}{' and others' if len(late) > 5 else ''}, so they are not "
            "trained: layers made in forward came too late. Make them in __init__, or use lazy layers such as "
            "nn.LazyLinear."
        )


def _described(part: Any) -> str:
    return f"the class {part.__name__}, not an instance of it" if isinstance(part, type) else (
        repr(part) if isinstance(part, str) else f"a {type(part).__name__}"
    )  # fmt: skip
