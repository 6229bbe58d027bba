"""Texts of any source as a DataModule: pairs, tuples, graded lists, or single texts with views."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset

from lightning_contrast.data.contrastive_dataset import ContrastiveDataset
from lightning_contrast.data.hashed_words import HashedWords
from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.plain_values import is_plain
from lightning_contrast.data.samplers import BatchSamplerCallable
from lightning_contrast.data.text_collate import TextCollate
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_loaders import TextLoaders
from lightning_contrast.data.text_parts import in_parts, tell_of_leaks
from lightning_contrast.data.text_rows import TextRows, read_rows, read_texts
from lightning_contrast.data.text_sets import Documents, Numbers, PlainTexts, TextPairs, groups_of
from lightning_contrast.data.text_views import TextView
from lightning_contrast.data.tokenizer import TextTokenizer


class TextDataModule(TextLoaders):
    """Batches of token numbers from JSONL, CSV, TSV, Parquet, Hugging Face's ``datasets`` or any data set of texts.

    Pairs give ``query``, ``document``, perhaps ``negative``, ``index``, and ``query_id`` and ``document_id``: numbers that are
    equal for equal texts, by which duplicates are no negatives of each other (``FalseNegativeFilter`` with ``same:
    [query_id, document_id]``) and by which a search is scored. Single texts give two ``views``. What a record may hold:
    :func:`~lightning_contrast.data.text_rows.read_rows`.

    Without `val` and `test` a twentieth each is taken from `train`, by a hash, so that no query and no document is in two
    splits. The documents of all splits and those of `documents` are what is searched (:meth:`corpus_dataloader`).

    Args:
        train: a path (``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``; the first three also ``.gz``), or from Python a data set.
        val: the same.
        test: the same.
        queries: texts by ``id``, to which ``query_id`` refers where rows have no ``query``.
        documents: texts by ``id``, to which ``document_id`` refers; all of them are searched.
        columns: our names to those of the source, such as ``{query: question}``.
        tokenizer: ``None`` learns 8192 words and pieces from the training texts; `HashedWords` is for `BagOfWords`.
        query_prompt: put before queries, and before single texts; ``None`` is what the tokenizer's folder says.
        document_prompt: put before documents; ``None`` likewise.
        include_prompt: whether prompts are pooled with their texts; ``None`` is what the folder says, mostly yes.
        view: how another view of a single text is made; ``None`` gives the same text twice, for encoders with dropout. A
            list has one for each view, ``None`` in it being the text itself; `n_views` and `both_views` do not count then.
            Of pairs, a view of each side comes as ``query_view`` and ``document_view``, for ``PairViewsModule``.
        both_views: whether both views are changed, or the second alone.
        unpaired: train on queries and documents as single texts, as if nobody knew which belong together.
        batch_size: rows per process.
        num_workers: worker processes.
        drop_last: whether training leaves out a last short batch.
        group_by_length: train on batches of texts of similar length, so that little is padded
            (:class:`~lightning_contrast.data.LengthBatchSampler`).
        n_views: of a single text, the first one unchanged without `both_views`; >= 2, or 1 where the objective finds
            positives elsewhere (``SameLabel``, ``Neighbours``).
        sampler: which batches an epoch has, a batch sampler's class; None shuffles.
        seed: of order and views.
        relevant_above: of pairs with a ``score``: a document counts as relevant in a search if its score is above this, and
            its score is its gain in nDCG; the documents of one query are searched for together. >= 0.

    Raises:
        TextDataError: for whatever is wrong with the texts, with file and line.
        ValueError: if a number is out of range.
    """

    def __init__(
        self,
        train: Any = None,
        val: Any = None,
        test: Any = None,
        queries: Any = None,
        documents: Any = None,
        columns: dict[str, str] | None = None,
        tokenizer: TextTokenizer | HashedWords | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        view: TextView | list[TextView | None] | None = None,
        both_views: bool = True,
        unpaired: bool = False,
        batch_size: int = 64,
        num_workers: int = 0,
        drop_last: bool = True,
        seed: int = 0,
        group_by_length: bool = False,
        n_views: int = 2,
        sampler: BatchSamplerCallable | None = None,
        relevant_above: float = 0.0,
        include_prompt: bool | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"batch_size={batch_size}, num_workers={num_workers}: need at least 1 and 0.")
        if n_views < 1:
            raise ValueError(
                f"n_views={n_views}: must be at least 1; 2 or more where views of a text are its positives."
            )
        if isinstance(view, list) and len(view) < 2:
            raise ValueError(f"view={view}: a list must have at least 2, one for each view.")
        if relevant_above < 0:
            raise ValueError(f"relevant_above={relevant_above}: must be at least 0, as grades that count are positive.")
        if sampler is not None and group_by_length:
            raise ValueError("group_by_length=True beside a sampler, which says what a batch is: give one of the two.")
        self.sources = {"train": train, "val": val, "test": test}
        self.queries, self.documents, self.columns = queries, documents, columns
        self.tokenizer = tokenizer if tokenizer is not None else TextTokenizer()
        told = self.tokenizer.prompts if isinstance(self.tokenizer, TextTokenizer) else {}
        self.query_prompt = told.get("query", "") if query_prompt is None else query_prompt
        self.document_prompt = (
            told.get("document", told.get("passage", "")) if document_prompt is None else document_prompt
        )
        self.include_prompt = getattr(tokenizer, "include_prompt", True) if include_prompt is None else include_prompt
        self.view, self.both_views, self.unpaired = view, both_views, unpaired
        self.batch_size, self.num_workers, self.drop_last, self.seed = batch_size, num_workers, drop_last, seed
        self.group_by_length, self.n_views, self.sampler = group_by_length, n_views, sampler
        self.relevant_above = relevant_above
        self.source = "not looked for yet"
        data_sets = [name for name, value in self.sources.items() if not isinstance(value, (str, type(None)))]
        held = [name for name in ("queries", "documents") if not isinstance(getattr(self, name), (str, type(None)))]
        self.save_hyperparameters(logger=False, ignore=[*data_sets, *held, "tokenizer", "view", "parts", "sampler"])
        # no objects: checkpoints must open with weights_only=True
        self.remove_ignored_hparams([name for name, value in self.hparams.items() if not is_plain(value)])

    # Reading ------------------------------------------------------------------------------------------------------

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split, and the documents to be searched beside theirs, by id; a subclass may read something else."""
        if self.sources["train"] is None:
            raise ValueError("train=None: give the texts to train on, a path or a data set.")
        asked = {} if self.queries is None else read_texts(self.queries, "query")
        known = {} if self.documents is None else read_texts(self.documents, "document")
        rows = {
            name: read_rows(value, self.columns, asked, known)
            for name, value in self.sources.items()
            if value is not None
        }
        unused = set(asked) - {key for one in rows.values() for key in one.ids["query"]}
        if unused:
            raise TextDataError(
                f"{len(unused)} of {len(asked)} queries have no positive in any split, such as {sorted(unused)[0]!r}: leave them "
                "out."
            )
        self.source = f"texts of {', '.join(str(v) if isinstance(v, str) else n for n, v in self.sources.items() if v is not None)}"
        return rows, known

    def setup(self, stage: str | None = None) -> None:
        """Reads, numbers, splits, and learns the words where the tokenizer knows none; once."""
        if hasattr(self, "train_set"):
            return
        rows, more = self.read()
        kinds = {one.plain for one in rows.values()}
        if len(kinds) > 1:
            raise TextDataError("single texts in one split and pairs in another; all must be of one kind.")
        self._numbers, self._asked = Numbers(), Numbers()
        if len(rows) == 1:
            rows = self._split(rows["train"])
        self._told_of_leaks(rows)
        self._sets: dict[str, Dataset[Any]] = {}
        self._single = kinds == {True}
        for name, one in rows.items():
            self._sets[name] = PlainTexts(one) if self._single else self._pairs(one)
        self._numbers.of(list(more.values()))
        for pairs in self._sets.values():
            if isinstance(pairs, TextPairs):
                pairs.number_negatives(self._numbers)
        negatives = [text for texts in rows["train"].negative for text in texts]
        self.tokenizer.learn([*rows["train"].query, *rows["train"].document, *negatives])
        self._bank = self._sets["train"]
        texts = rows["train"]
        if self.unpaired and not self._single:
            texts = TextRows(query=list(dict.fromkeys([*texts.query, *texts.document])))
        repeated = [self.view if self.both_views else None, *[self.view] * (self.n_views - 1)]
        changed = self.view if isinstance(self.view, list) else repeated
        held = [texts.query, texts.document] if texts.document else [texts.query]
        self._lengths = [sum(map(len, row)) for row in zip(*held, strict=True)]
        single = ContrastiveDataset(PlainTexts(texts), views=changed, seed=self.seed)  # type: ignore[arg-type]
        self._pair_views = None if self.view is None else list(changed)[:2]
        self.train_set = single if self._single or self.unpaired else self._with_views("train")

    def state_dict(self) -> dict[str, Any]:
        """The words that the tokenizer learned: token numbers mean nothing without them."""
        told = getattr(self.tokenizer, "state_dict", None)
        return {} if told is None else {"tokenizer": told()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The words of the run, whatever the texts are now.

        Raises:
            ValueError: for a tokenizer of another kind.
        """
        if hasattr(self.tokenizer, "load_state_dict"):
            self.tokenizer.load_state_dict(state_dict.get("tokenizer", {}))
        elif state_dict.get("tokenizer"):
            raise ValueError(
                f"tokenizer={type(self.tokenizer).__name__}: the checkpoint was trained with words learned from its texts: give "
                "a TextTokenizer."
            )

    def _pairs(self, rows: TextRows) -> TextPairs:
        return TextPairs(rows, self._asked.of(rows.query), self._numbers.of(rows.document))

    def _split(self, rows: TextRows) -> dict[str, TextRows]:
        asked = Numbers()
        first = asked.of(rows.query)
        group = groups_of(first, first if rows.plain else Numbers().of(rows.document))
        found = in_parts(rows, [plain(rows.query[row]) for row in group])
        if "train" not in found:
            raise TextDataError(
                f"{len(rows)} rows, which belong together: nothing is left to train on; give val and test."
            )
        return found

    def _told_of_leaks(self, rows: dict[str, TextRows]) -> None:
        tell_of_leaks(rows)

    # What is searched -------------------------------------------------------------------------------------------

    @property
    def collate(self) -> TextCollate:
        """Texts to token numbers."""
        return TextCollate(self.tokenizer, self.query_prompt, self.document_prompt, include_prompt=self.include_prompt)

    @property
    def corpus_dataloader(self) -> Callable[[], DataLoader[Any]]:
        """Makes a loader of every document of all splits, equal ones once: what is searched; pairs alone have it."""
        self.setup()  # commands ask hasattr() before the data are set up, and only the texts themselves know
        if self._single:
            raise AttributeError("single texts have no documents to search")
        return lambda: self._loader(Documents(self._numbers.texts))

    def query_inputs(self, texts: Sequence[str]) -> Any:
        """What somebody typed, as the encoder takes it."""
        self.setup()  # the tokenizer may learn its words from the texts
        return self.collate.read(texts, [self.query_prompt] * len(texts))

    def describe(self, index: Iterable[int], split: str = "corpus") -> list[str]:
        """The texts themselves, of documents (or of a split's queries), for a person to read."""
        if split == "corpus":
            return [self._numbers.texts[number] for number in index]
        rows: TextRows = self._sets[split].rows  # type: ignore[attr-defined]
        return [rows.query[number] for number in index]
