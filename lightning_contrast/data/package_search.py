"""Search among Debian's packages as a DataModule: which long description belongs to a short one?"""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lightning_contrast.data.loader import ResumableLoader
from lightning_contrast.data.package_descriptions import families, find_package_descriptions, plain, read_descriptions
from lightning_contrast.data.samplers import ShuffledBatchSampler
from lightning_contrast.data.tensor_images import as_is
from lightning_contrast.data.text_parts import part_of
from lightning_contrast.data.token_pairs import TokenPairs
from lightning_contrast.data.words import word_table


class PackageSearchDataModule(LightningDataModule):
    """Debian's package descriptions: a short one is the query, the long one of the same package its document.

    Batches hold ``query`` and ``document`` (word numbers, int32 ``[N, L]``), ``index``, ``label``: the package's family (its
    source package, and others that say the same), whose members are near-duplicates: no negatives of each other; and
    ``document_id``, equal for documents of equal text. The split is by a hash of the family, so that no document is in two:
    about a twentieth of the pairs for validation, as many for test. All of them together are the corpus that is searched
    (:meth:`corpus_dataloader`).

    Args:
        root: Folder with ``package-descriptions.jsonl.gz``; None fetches it with apt, without root, into the cache.
        batch_size: Rows per process.
        subset: How many training pairs to use (seeded choice); None is all.
        words: Numbers that words are hashed to, >= 2; the encoder's must be the same.
        query_words: At most so many words of a query.
        document_words: At most so many words of a document.
        num_workers: Worker processes; not worth it, the texts are in memory.
        drop_last: Whether training leaves out a last short batch.
        cache_dir: Where fetched files are kept; None is ``$LIGHTNING_CONTRAST_DATA`` or ``~/.cache/lightning_contrast``.
        seed: Seed of the order and of `subset`.

    Raises:
        DataNotFoundError: If `root` lacks the file, or there is no apt.
        ValueError: If a number is out of range.
    """

    train_set: Dataset[Any]
    val_set: Dataset[Any]
    test_set: Dataset[Any]

    def __init__(
        self,
        root: str | None = None,
        batch_size: int = 256,
        subset: int | None = None,
        words: int = 32768,
        query_words: int = 16,
        document_words: int = 96,
        num_workers: int = 0,
        drop_last: bool = True,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, low in (
            ("batch_size", batch_size, 1),
            ("subset", 1 if subset is None else subset, 1),
            ("words", words, 2),
            ("query_words", query_words, 1),
            ("document_words", document_words, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < low:
                raise ValueError(f"{name} must be at least {low}, got {value}")
        self.root, self.batch_size, self.subset, self.words = root, batch_size, subset, words
        self.query_words, self.document_words = query_words, document_words
        self.num_workers, self.drop_last, self.cache_dir, self.seed = num_workers, drop_last, cache_dir, seed
        self.source = "not looked for yet"
        self.save_hyperparameters(logger=False)

    def prepare_data(self) -> None:
        """Fetches once per machine, before other processes look."""
        find_package_descriptions(self.root, self.cache_dir)

    def setup(self, stage: str | None = None) -> None:
        """Reads, numbers the words and splits, once."""
        if hasattr(self, "train_set"):
            return
        path = find_package_descriptions(self.root, self.cache_dir)
        found, checksum = read_descriptions(path)
        self._found = found
        self.source = f"Debian package descriptions ({len(found)} pairs, SHA-256 {checksum}) in {path.parent}"
        self._short = [one.short for one in found]
        family = families(found)
        query = word_table([one.short for one in found], self.words, self.query_words)
        document = word_table([one.long for one in found], self.words, self.document_words)
        document_id, first = _numbered([plain(one.long) for one in found])
        label, _ = _numbered(family)
        self.corpus = TokenPairs(query[first], document[first], first, document_id=document_id[first])
        split = torch.tensor([part_of(name) for name in family])
        parts = []
        for part in range(3):
            rows = (split == part).nonzero()[:, 0]
            if part == 0 and self.subset is not None and self.subset < len(rows):
                chosen = torch.Generator().manual_seed(self.seed)
                rows = rows[torch.randperm(len(rows), generator=chosen)[: self.subset].sort().values]
            known = {"label": label[rows], "document_id": document_id[rows]}
            parts.append(TokenPairs(query[rows], document[rows], rows, **known))
        self.train_set, self.val_set, self.test_set = parts

    def texts(self, index: Tensor) -> list[str]:
        """The queries of these pairs in words, for people to read."""
        return [self._short[i] for i in index.tolist()]

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled, resumable, sharded by rank."""
        if self.trainer is not None and getattr(self.trainer, "overfit_batches", False):
            return self._loader(self.train_set)  # the same batches every epoch
        size = len(self.train_set)  # type: ignore[arg-type]
        drop_last = self.drop_last and size >= self.batch_size
        sampler = ShuffledBatchSampler(size, self.batch_size, drop_last=drop_last, seed=self.seed)
        return ResumableLoader(self.train_set, sampler, num_workers=self.num_workers, collate_fn=as_is)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split, in order."""
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split, in order."""
        return self._loader(self.test_set)

    def predict_dataloader(self) -> DataLoader[Any]:
        """The queries of the test split."""
        return self._loader(self.test_set)

    def bank_dataloader(self) -> DataLoader[Any]:
        """The training split in order: what negatives are mined from."""
        return self._loader(self.train_set)

    def corpus_dataloader(self) -> DataLoader[Any]:
        """Every document of all splits, equal ones once: what is searched."""
        return self._loader(self.corpus)

    def query_inputs(self, texts: Sequence[str]) -> Tensor:
        """What somebody typed, as the encoder takes it, int32 ``[N, L]``."""
        return word_table(texts, self.words, self.query_words)

    def describe(self, index: Sequence[int], split: str = "corpus") -> list[str]:
        """Name and short description of the packages, for a person to read."""
        return [f"{self._found[i].package}: {self._found[i].short}" for i in index]

    def _loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        # a generator of its own: validation must not move the training's random numbers
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(dataset, self.batch_size, num_workers=self.num_workers, collate_fn=as_is, generator=generator)


def _numbered(names: list[str]) -> tuple[Tensor, Tensor]:
    """The number of each name, int64 ``[N]``, in the order of their first appearance, and where that is."""
    numbers: dict[str, int] = {}
    first: list[int] = []
    for row, name in enumerate(names):
        if numbers.setdefault(name, len(numbers)) == len(first):
            first.append(row)
    return torch.tensor([numbers[name] for name in names]), torch.tensor(first)
