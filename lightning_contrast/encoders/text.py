"""Transformers of Hugging Face as encoders of texts."""

import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.dropout_rates import dropouts
from lightning_contrast.encoders.encoder import Encoder
from lightning_contrast.encoders.lora import with_lora
from lightning_contrast.functional.model_place import model_place
from lightning_contrast.functional.pooling import Pooling, pooled

EXTRA = 'TextEncoder needs the package transformers: pip install "lightning-contrast[text]"'
SMALL: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 8192,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "max_position_embeddings": 128,
}
"""A BERT that learns on a CPU in minutes; entries of ``config`` replace these."""


class TextEncoder(Encoder):
    """A transformer and a pooling: token numbers to one vector a text.

    Texts become token numbers in the data (:class:`~lightning_contrast.data.TextTokenizer` of the same `model`, or one that
    learns its words from the data). The last layer's pooler of BERT and its like is left out: nothing would train it.

    Args:
        model: folder or name of a model that ``transformers`` opens, a folder of sentence-transformers included, or
            ``package:NAME/FOLDER``, inside an installed Python package; ``None`` makes one from `config`, untrained,
            without any download.
        config: settings of an untrained model, in place of those of `SMALL`; with another ``model_type`` only they count.
        pooling: ``mean``, ``cls`` (the first token) or ``last``; ``None`` is what the folder says, else ``mean``.
        normalize: whether rows get unit norm; ``None`` is what the folder says, else no (cosine does not need it).
        dropout: of every dropout layer, in [0, 1); ``None`` leaves the model's.
        lora: train low-rank adapters alone, by ``peft``: settings of its ``LoraConfig``, such as ``{r: 8}``. Folders that are
            exported have them merged.
        gradient_checkpointing: keep no activations inside the layers of the transformer, and compute them once more in
            backward: the same gradient, for less memory and about a third more time.

    Raises:
        ImportError: without ``transformers``; with `lora` without ``peft``.
        ValueError: for values out of range, both or a wrong `model` and `config`, a model that cannot be checkpointed; in use for token numbers it does not have.

    Example:
        >>> encoder = TextEncoder(config={"hidden_size": 16, "vocab_size": 50})
        >>> tokens = {"input_ids": torch.tensor([[2, 7, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
        >>> encoder(tokens).shape
        torch.Size([1, 16])
    """

    kind: ClassVar[str] = "AutoModel"
    """The class of ``transformers`` that opens and makes the transformer."""

    def __init__(
        self,
        model: str | None = None,
        config: dict[str, Any] | None = None,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        dropout: float | None = None,
        lora: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if pooling not in (None, "mean", "cls", "last"):
            raise ValueError(f"pooling={pooling!r}: must be mean, cls, last or None.")
        if dropout is not None and not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: must lie in [0, 1).")
        if model is not None and config is not None:
            raise ValueError(f"model={model!r} has its own settings: leave config out, or model.")
        model = None if model is None else model_place(model)
        told_pooling, told_normalize = said_by_folder(Path(model)) if model is not None else (None, None)
        self.transformer = _untrained(config or {}, self.kind) if model is None else _opened(model, self.kind)
        self.pooling: Pooling = pooling or told_pooling or "mean"
        self.normalize = bool(told_normalize if normalize is None else normalize)
        self.output_dim = int(self.transformer.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.adapted = lora is not None
        if lora is not None:
            with_lora(self.transformer, lora)
        if dropout is not None:
            for layer, name in dropouts(self):
                setattr(layer, name, dropout)
        if gradient_checkpointing:
            _checkpointed(self.transformer)

    def forward(self, x: Any) -> Tensor:
        """``input_ids`` and ``attention_mask``, int64 ``[N, L]`` each, to ``[N, output_dim]``.

        With ``pooling_mask`` ``[N, L]`` only its tokens are pooled: a part of a text, or a text without its instruction.
        """
        if not isinstance(x, dict) or not {"input_ids", "attention_mask"} <= set(x):
            raise ValueError(
                f"TextEncoder takes a mapping with input_ids and attention_mask [N, L], got {_described(x)}; "
                "TextDataModule makes them."
            )
        ids, mask = x["input_ids"], x["attention_mask"]
        if not torch.compiler.is_compiling():
            self.check_tokens(ids)
        chosen: Any = x.get("pooling_mask", mask)
        z = self.pool(self.states(ids, mask), chosen)
        return nn.functional.normalize(z, dim=1) if self.normalize else z

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last layer, ``[N, L, output_dim]``."""
        return self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state

    def layers(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The states of every layer, the first those of the embedded tokens, ``[layers + 1, N, L, output_dim]``."""
        found = self.transformer(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return torch.stack(found.hidden_states)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """One vector a text, ``[N, output_dim]``."""
        return pooled(states, mask, self.pooling)

    def check_tokens(self, ids: Tensor) -> None:
        """Token numbers ``[N, L]`` must be the transformer's, and no more than it reads.

        Raises:
            ValueError: saying what to set.
        """
        held: Any = self.transformer.config
        if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < held.vocab_size:
            raise ValueError(
                f"the encoder has {held.vocab_size} tokens, the data have numbers from {int(ids.min())} to {int(ids.max())}: "
                "give encoder and tokenizer the same model, or the same vocab_size."
            )
        longest = getattr(held, "max_position_embeddings", None)
        if longest is not None and ids.shape[1] > longest:
            raise ValueError(
                f"a text has {ids.shape[1]} tokens, the encoder reads {longest}: set max_length={longest} of the tokenizer."
            )


def said_by_folder(folder: Path) -> tuple[Pooling | None, bool | None]:
    """Pooling and normalisation of a folder of sentence-transformers; None where it says nothing.

    Raises:
        ValueError: for a pooling or a step that this encoder does not have.
    """
    steps = folder / "modules.json"
    if not steps.is_file():
        return None, None
    pooling, normalize = None, False
    for step in json.loads(steps.read_text(encoding="utf-8")):
        kind = step["type"].rpartition(".")[2]
        if kind == "Normalize":
            normalize = True
        elif kind == "Pooling":
            pooling = _pooling_of(
                json.loads((folder / step["path"] / "config.json").read_text(encoding="utf-8")), folder
            )
        elif kind != "Transformer":
            raise ValueError(f"model={folder}: its step {kind} is none of Transformer, Pooling and Normalize.")
    return pooling, normalize


def _pooling_of(told: dict[str, Any], folder: Path) -> Pooling:
    names: dict[str, Pooling] = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}
    short: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
    chosen = [
        name.removeprefix("pooling_mode_")
        for name, on in told.items()
        if name.startswith("pooling_mode_") and on is True
    ]
    mode = told.get("pooling_mode")
    found = names.get(chosen[0]) if len(chosen) == 1 else short.get(mode) if isinstance(mode, str) else None
    if found is None:
        raise ValueError(f"model={folder}: its pooling {mode or chosen} is none of mean, cls and last token.")
    return found


def _opened(model: str, kind: str) -> nn.Module:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(EXTRA) from error
    try:
        made = getattr(transformers, kind).from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ValueError(f"model={model!r} cannot be opened by transformers: {str(error).splitlines()[0]}") from error
    return _ready(made)


def _untrained(config: dict[str, Any], kind: str) -> nn.Module:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(EXTRA) from error
    other = config.get("model_type", SMALL["model_type"]) != SMALL["model_type"]
    settings = dict(config) if other else {**SMALL, **config}
    try:
        made = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        return _ready(getattr(transformers, kind).from_config(made))
    except (ValueError, KeyError) as error:
        raise ValueError(f"config={config}: transformers cannot make it: {error}") from error


def _ready(model: nn.Module) -> nn.Module:
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]
    # opened models are in evaluation mode, and Lightning leaves modes as they are: no dropout, no views of SimCSE
    return model.train()


def _checkpointed(model: Any) -> None:
    try:
        # the reentrant kind gives no gradient where the inputs of a layer need none: with adapters, and frozen words
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise ValueError(f"gradient_checkpointing=True: {type(model).__name__} has none ({error}).") from error
    model.config.use_cache = False  # of keys and values, which nobody asks for here; else transformers warns of it


def _described(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"a tensor {list(x.shape)}"
    return f"a mapping with {sorted(x)}" if isinstance(x, dict) else f"a {type(x).__name__}"
