"""Texts as token numbers: by a model's own tokenizer, or by words learned from the data."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_contrast.data.words import WORD, words_of
from lightning_contrast.functional.model_place import model_place

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
EXTRA = 'TextTokenizer needs the package transformers: pip install "lightning-contrast[text]"'


class TextTokenizer:
    """Token numbers and their mask, as wide as the longest text of a batch.

    Without a model it learns its vocabulary from the training texts (:meth:`learn`): the most frequent words whole, all
    others in pieces (WordPiece), and opens elsewhere as BERT's tokenizer.

    Args:
        model: folder or name that ``transformers`` opens, or ``package:NAME/FOLDER``, the encoder's; or a file of the
            library ``tokenizers`` (``.json``), as tables of word vectors have one; ``None`` learns from the data.
        vocab_size: tokens at most that are learned, >= 100; the encoder's ``vocab_size`` must not be smaller.
        max_length: tokens of a text at most, its two special ones included, >= 3; what is longer is cut, counted, and told
            of once. ``None`` is the model's own limit (128 where there is none).
        special_tokens: whether the model's special tokens, such as its beginning and end, are put around a text; a mean of
            vectors (`BagOfWords`) needs none.

    Raises:
        ValueError: for numbers out of range; for a model without a tokenizer.
    """

    def __init__(
        self,
        model: str | None = None,
        vocab_size: int = 8192,
        max_length: int | None = None,
        special_tokens: bool = True,
    ) -> None:
        if vocab_size < 100:
            raise ValueError(f"vocab_size={vocab_size}: must be at least 100, since letters are among them.")
        if max_length is not None and max_length < 3:
            raise ValueError(f"max_length={max_length}: must be at least 3, two of which are special tokens.")
        self.model, self.vocab_size, self.asked_length = model, vocab_size, max_length
        self.special_tokens = special_tokens
        self.texts = 0
        """Texts read in this process."""
        self.cut = 0
        """Those of them that were longer than ``max_length``."""
        self._fast: Any = None if model is None else _opened(model_place(model))
        self._learned: list[str] | None = None

    @property
    def ready(self) -> bool:
        """Whether it has a vocabulary."""
        return self._fast is not None

    @property
    def fast(self) -> Any:
        """The tokenizer of ``transformers``.

        Raises:
            ValueError: before it has learned.
        """
        if self._fast is None:
            raise ValueError("the tokenizer has no vocabulary yet: give model=..., or call learn(texts) first.")
        return self._fast

    @property
    def max_length(self) -> int:
        """Tokens of a text at most."""
        own = self._fast.model_max_length if self._fast is not None else 128
        own = own if own < 10**6 else 128  # transformers says 1e30 for "no limit"
        return own if self.asked_length is None else self.asked_length

    @property
    def prompts(self) -> dict[str, str]:
        """What a folder of sentence-transformers puts before texts, by name (``query``, ``document``); mostly nothing."""
        path = Path(model_place(self.model or "")) / "config_sentence_transformers.json"
        told = json.loads(path.read_text(encoding="utf-8")).get("prompts") if self.model and path.is_file() else None
        return {name: text or "" for name, text in (told or {}).items()}

    @property
    def include_prompt(self) -> bool:
        """Whether a folder of sentence-transformers pools the tokens of prompts too; others do."""
        told = Path(model_place(self.model or "")).glob("*_Pooling/config.json") if self.model else iter(())
        return all(json.loads(path.read_text(encoding="utf-8")).get("include_prompt", True) for path in told)

    def learn(self, texts: Iterable[str]) -> None:
        """A vocabulary from texts, the same from the same texts; what is opened already stays."""
        if not self.ready:
            self._know(vocabulary(texts, self.vocab_size))

    def _know(self, tokens: list[str]) -> None:
        self._fast, self._learned = _bert_tokenizer(tokens, self.max_length), tokens

    def state_dict(self) -> dict[str, Any]:
        """The learned tokens, in the order of their numbers; nothing for a model's own tokenizer, which its files hold."""
        return {} if self._learned is None else {"vocabulary": list(self._learned)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The words that a run was trained with, whatever was learned here.

        Raises:
            ValueError: for learned words where `model` is given, and the reverse: token numbers would mean something else.
        """
        tokens = state.get("vocabulary")
        if (tokens is None) != (self.model is not None):
            trained = "a model's own tokenizer" if tokens is None else f"{len(tokens)} tokens learned from its texts"
            raise ValueError(
                f"TextTokenizer(model={self.model!r}): the checkpoint was trained with {trained}, so these token numbers would "
                f"mean something else to it: {'give that model' if tokens is None else 'leave model out'}."
            )
        if tokens is None or tokens == self._learned:
            return
        if self._learned is not None:
            rank_zero_warn(
                "the texts are not those that the checkpoint was trained on: other words would be learned from them. The "
                "checkpoint's are used."
            )
        self._know(list(tokens))

    def __call__(self, texts: Sequence[str], unpooled: Sequence[int] | None = None) -> dict[str, Tensor]:
        """``input_ids`` and ``attention_mask``, int64 ``[N, L]`` each, padded behind.

        With `unpooled`, so many characters at the beginning of each text are read but not pooled, and ``pooling_mask`` says
        so: 1 for the tokens behind the last one within them (as sentence-transformers' ``include_prompt=False``). A text
        that is cut before it begins is pooled as a whole.
        """
        found = self.fast(
            list(texts),
            padding="longest",
            truncation=True,
            max_length=self.max_length,
            add_special_tokens=self.special_tokens,
        )
        cut = sum(bool(one.overflowing) for one in found.encodings)
        self.texts += len(texts)
        if cut and not self.cut:
            rank_zero_warn(
                f"{cut} of the first {self.texts} texts have more than max_length={self.max_length} tokens; what is behind "
                "them is not read. Further ones are counted (tokenizer.cut), not told of."
            )
        self.cut += cut
        out = {name: torch.tensor(found[name], dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        if unpooled is not None:
            last = [
                max((at for at, (start, stop) in enumerate(one.offsets) if start < stop <= count), default=-1)
                for one, count in zip(found.encodings, unpooled, strict=True)
            ]
            mask = out["attention_mask"]
            behind = mask * (torch.arange(mask.shape[1]) > torch.tensor(last)[:, None])
            read = [
                any(start < stop > count for start, stop in one.offsets)
                for one, count in zip(found.encodings, unpooled, strict=True)
            ]
            out["pooling_mask"] = torch.where(torch.tensor(read)[:, None], behind, mask)
        return out

    def save(self, folder: str | Path) -> None:
        """Files that ``AutoTokenizer`` opens."""
        self.fast.model_max_length = self.max_length
        self.fast.save_pretrained(str(folder))


def vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """Special tokens, every letter alone and as a later piece, frequent words, and frequent ends of the others.

    A fifth of the places is for ends. Equal counts are ordered by alphabet, so that the same texts give the same list.

    Example:
        >>> vocabulary(["b a b", "ab"], 100)[5:]
        ['##a', '##b', 'a', 'b', 'ab']
    """
    words = Counter(word for text in texts for word in words_of(text))
    letters = Counter(letter for word, count in words.items() for letter in word for _ in range(min(count, 9)))
    kept = sorted(letters, key=lambda letter: (-letters[letter], letter))[: (size - len(SPECIAL)) // 4]
    out = [*SPECIAL, *sorted({*kept, *(f"##{letter}" for letter in kept)})]
    known = set(out)
    order = sorted(words, key=lambda word: (-words[word], word))
    whole = [word for word in order if word not in known][: (size - len(out)) * 4 // 5]
    rest = Counter[str]()
    for word in order[len(whole) :]:
        for length in (2, 3, 4, 5):
            if length < len(word) and words[word] > 1:
                rest[f"##{word[-length:]}"] += words[word]
    ends = sorted((end for end in rest if end not in known), key=lambda end: (-rest[end], end))
    return [*out, *whole, *ends[: size - len(out) - len(whole)]]


def _bert_tokenizer(tokens: list[str], max_length: int) -> Any:
    try:
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise ImportError(EXTRA) from error
    numbers = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=64))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)  # what words_of does
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=max_length, **names)


def _opened(model: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ImportError(EXTRA) from error
    if model.endswith(".json"):
        return _of_file(model)
    try:
        made = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"model={model!r}: transformers finds no tokenizer there ({str(error).splitlines()[0]}); is tokenizer.json missing?"
        ) from error
    if not made.is_fast:
        raise ValueError(f"model={model!r}: its tokenizer has no fast form (tokenizer.json).")
    if made.pad_token is None:
        if made.eos_token is None:
            raise ValueError(f"model={model!r}: its tokenizer has neither a padding nor an end token.")
        made.pad_token = made.eos_token
    made.padding_side = "right"
    made.model_max_length = min(made.model_max_length, _sentence_length(Path(model)))
    return made


def _of_file(model: str) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not Path(model).is_file():
        raise ValueError(f"model={model!r}: there is no such file.")
    try:
        inner = Tokenizer.from_file(model)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"model={model!r}: no tokenizer of the library tokenizers ({error}).") from error
    # which token fills up is of no matter to who reads the mask
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=inner.id_to_token(0), padding_side="right")


def _sentence_length(folder: Path) -> int:
    """The limit that a folder of sentence-transformers sets itself."""
    path = folder / "sentence_bert_config.json"
    told = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") if path.is_file() else None
    return 10**30 if told is None else int(told)
