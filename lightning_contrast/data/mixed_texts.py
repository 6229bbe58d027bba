"""Several data sets of texts as one, mixed by a rule, each with its own columns and prompts."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch.utils.data import DataLoader

from lightning_contrast.data.mixed_batches import OneSourceBatchSampler
from lightning_contrast.data.samplers import EpochBatchSampler
from lightning_contrast.data.text_collate import TextCollate
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_parts import SPLITS
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_sets import Documents, TextPairs

Mix = Literal["shuffled", "proportional", "round_robin"]


class MixedTextDataModule(TextDataModule):
    """Trains on several data sets of texts, all of pairs or all of single texts.

    Batches also hold ``source``, the number of the data set. Equal texts have equal ids in all of them; labels are numbered
    so that no two data sets share one; ``label`` and ``score`` are kept where all have them. Where no data set has its own
    `val` and `test`, all are split together, so that no text of one's training is held out in another.

    Args:
        parts: data modules by name; of each its texts, columns and prompts count, all else is said here.
        domains: tokens also hold ``domain``, the number of their data set, for ``DomainExperts``.
        query_part: the data set to which what somebody types belongs, where there are `domains`; ``None`` is the first.
        mix: ``shuffled``: rows of all in one batch; ``proportional``: one data set a batch, as many batches as its size
            gives; ``round_robin``: one data set a batch, in turn, until the smallest is at its end.
        **settings: as of :class:`TextDataModule`, but for its sources, `unpaired` and `document_prompt`; `query_prompt` is
            put before what somebody types.

    Raises:
        TextDataError: for data sets that cannot share a batch.
        ValueError: without parts, for another rule, or numbers out of range.
    """

    def __init__(
        self,
        parts: dict[str, TextDataModule],
        mix: Mix = "proportional",
        domains: bool = False,
        query_part: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        if not parts:
            raise ValueError("parts={}: give the data sets that are mixed, by name.")
        if mix not in ("shuffled", "proportional", "round_robin"):
            raise ValueError(f"mix={mix!r}: must be shuffled, proportional or round_robin.")
        if self.sampler is not None:
            raise ValueError("sampler=...: the batches of a mixture follow `mix`; leave one of the two out.")
        if self.unpaired:
            raise ValueError("unpaired=True: a mixture is trained as its parts are.")
        if query_part is not None and query_part not in parts:
            raise ValueError(f"query_part={query_part!r}: must be one of {', '.join(parts)}.")
        self.parts, self.mix, self.domains = parts, mix, domains
        self.query_part = query_part

    def prepare_data(self) -> None:
        """Of every part."""
        for part in self.parts.values():
            part.prepare_data()

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows of all parts by split, and all their documents to be searched."""
        found, more = [], {}
        for name, part in self.parts.items():
            rows, documents = part.read()
            found.append(rows)
            more.update({(name, key): text for key, text in documents.items()})
        if any(len(rows) > 1 for rows in found):
            together = [part._split(rows["train"]) if len(rows) == 1 else rows
                        for part, rows in zip(self.parts.values(), found, strict=True)]  # fmt: skip
        else:
            together = found
        kinds = {name: rows["train"].plain for name, rows in zip(self.parts, together, strict=True)}
        if len(set(kinds.values())) > 1:
            plain = [name for name, one in kinds.items() if one]
            raise TextDataError(f"parts: {', '.join(plain)} hold single texts and the others pairs; mix one kind.")
        self._widths = {len(texts) for rows in together for texts in rows["train"].negative or [[]]}
        if self.mix == "shuffled" and len(self._widths) > 1:
            raise TextDataError(
                f"mix='shuffled': rows with {' and '.join(map(str, sorted(self._widths)))} negatives cannot share a batch; with "
                "proportional or round_robin every batch is of one data set."
            )
        self.source = f"{', '.join(self.parts)}, mixed ({self.mix})"
        out = {name: _joined([rows.get(name) for rows in together]) for name in SPLITS}
        return {name: rows for name, rows in out.items() if len(rows)}, more

    def setup(self, stage: str | None = None) -> None:
        """As of its base; remembers of which data set each document is."""
        if hasattr(self, "train_set"):
            return
        super().setup(stage)
        if self._single:
            return
        self._document_source = [0] * len(self._numbers.texts)
        for one in reversed(list(self._sets.values())):  # training's word counts first
            for number, source in zip(one.document_id, one.rows.known["source"], strict=True):
                self._document_source[number] = source
        if len(self._widths) > 1:  # loaders in order have batches of two data sets where one ends
            bare = {name: _without_negatives(one) for name, one in self._sets.items()}  # type: ignore[arg-type]
            self._sets = dict(bare)
            self._bank = self._sets["train"]

    @property
    def collate(self) -> TextCollate:
        """With the prompts of each data set."""
        prompts = [(part.query_prompt, part.document_prompt) for part in self.parts.values()]
        return TextCollate(
            self.tokenizer, self.query_prompt, self.document_prompt, prompts, self.include_prompt,
            "source" if self.domains else None,
        )  # fmt: skip

    def query_inputs(self, texts: Sequence[str]) -> Any:
        """What somebody typed, as the encoder takes it."""
        self.setup()
        own = list(self.parts).index(self.query_part) if self.query_part is not None else 0
        return self.collate.read(texts, [self.query_prompt] * len(texts), [own] * len(texts))

    def train_batches(self) -> EpochBatchSampler:
        """By the rule."""
        if self.mix == "shuffled":
            return super().train_batches()
        sources: Sequence[int] = self._bank.rows.known["source"]  # type: ignore[attr-defined]
        lengths = self._lengths if self.group_by_length else None
        return OneSourceBatchSampler(
            sources, self.batch_size, self.mix, lengths=lengths, drop_last=self.drop_last, seed=self.seed
        )

    @property
    def corpus_dataloader(self) -> Callable[[], DataLoader[Any]]:
        """Documents of all data sets, with the prompts of theirs."""
        self.setup()
        if self._single:
            raise AttributeError("single texts have no documents to search")
        return lambda: self._loader(Documents(self._numbers.texts, self._document_source))


def _joined(parts: list[TextRows | None]) -> TextRows:
    out = TextRows()
    there = [rows for rows in parts if rows is not None]
    kept = [name for name in ("label", "score") if all(name in rows.known for rows in there)]
    above = 0
    for number, rows in enumerate(parts):
        if rows is None:
            continue
        out.query += rows.query
        out.document += rows.document
        out.negative += rows.negative or ([[] for _ in rows.query] if rows.document else [])
        out.places += rows.places or [""] * len(rows)
        out.known.setdefault("source", []).extend([number] * len(rows))
        for name in kept:
            shift = above if name == "label" else 0
            out.known.setdefault(name, []).extend(value + shift for value in rows.known[name])
        above += 1 + max(rows.known["label"], default=0) if "label" in kept else 0
    return out


def _without_negatives(pairs: TextPairs) -> TextPairs:
    rows = pairs.rows
    bare = TextRows(rows.query, rows.document, [], rows.known, rows.ids, rows.places)
    return TextPairs(bare, pairs.query_id, pairs.document_id, pairs.start)
