"""The base of terms that read more of the encoder than its embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import all_sum, world_size
from lightning_contrast.regularisers.regulariser import Regulariser


class ListeningRegulariser(Regulariser):
    """A term of what passes through a part of the encoder while it encodes the batch: its tokens, its layers.

    A subclass says which part (:meth:`part`) and what it keeps of each call (:meth:`heard`); :meth:`term` finds it again,
    row by row as the anchors, by :meth:`kept`. The ``ContrastiveModule`` lets it listen, and refuses chunks, which keep no
    graph. Views of a text are encoded together and all are anchors; two towers, key encoders and hard negatives are not
    listened to. In evaluation the term is 0, and the loss the objective's alone.

    Args:
        weight: factor of the term, >= 0.

    Raises:
        ValueError: for a negative weight; at set-up for an encoder without that part.
    """

    options: ClassVar[dict[str, Any]] = {}
    """Keyword arguments with which the part is called beside its own."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)
        self._calls: list[Any] = []

    def part(self, encoder: nn.Module) -> nn.Module:
        """What is listened to."""
        return encoder

    def heard(self, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        """Tensors to keep of a call of the part, nested, each with the call's rows first."""
        raise NotImplementedError

    @contextmanager
    def listening(self, encoder: nn.Module) -> Iterator[None]:
        """Keeps what is heard within, and forgets what was heard before."""
        part, self._calls = self.part(encoder), []

        def ask(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return args, {**named, **self.options}

        def hear(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            self._calls.append(self.heard(args, named, output))

        hooks = [
            part.register_forward_pre_hook(ask, with_kwargs=True),
            part.register_forward_hook(hear, with_kwargs=True),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def forget(self) -> None:
        """Lets go of what was heard: it would be held beyond the step, and no module with a graph can be copied."""
        self._calls = []

    def forward(self, contrast: Contrast) -> Tensor:
        """``weight * term``, 0-d; 0 in evaluation."""
        return super().forward(contrast) if self.training else contrast.anchors.first.new_zeros(())

    def kept(self, contrast: Contrast) -> Any:
        """What was heard, in the order of the anchors.

        Raises:
            ValueError: where the anchors are not what was encoded, all views of each sample.
        """
        name, rows = type(self).__name__, contrast.anchors.rows
        sizes = [tree_leaves(call)[0].shape[0] for call in self._calls]
        if not contrast.is_self or sizes != [rows]:
            raise ValueError(
                f"{name} reads the {rows} anchors with what the encoder read at once, all views of a batch; it heard "
                f"{len(sizes)} calls of {sizes} rows. Use single texts in views (unpaired: true, or the task glosses), without "
                "key encoder, predictor and hard negatives, in a ContrastiveModule."
            )
        return self._calls[0]


def mean_over_ranks(total: Tensor, count: Tensor, contrast: Contrast) -> Tensor:
    """A rank's share of ``sum total / sum count``, so that the average over ranks is it. 0-d."""
    if contrast.exchange == "none":
        return total / count.clamp(min=1)
    return total * world_size() / all_sum(count.to(total.dtype)).clamp(min=1)
