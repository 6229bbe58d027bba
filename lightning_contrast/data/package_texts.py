"""Debian's package descriptions as a DataModule of texts, for encoders that read tokens."""

from typing import Any

from lightning_contrast.data.package_descriptions import families, find_package_descriptions, read_descriptions
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows


class PackageTextDataModule(TextDataModule):
    """Some 64,000 packages: a short description is the query, the long one of the same package its document.

    The texts of :class:`PackageSearchDataModule`, which makes whole words of them before training starts; here any tokenizer
    reads them, batch by batch. The split is the same, without queries to be held out that are asked in training too. ``label`` is the package's family (what is built from the same source, or says
    the same): near-duplicates, no negatives of each other (``FalseNegativeFilter`` with ``same_label: true``).

    Args:
        root: folder with ``package-descriptions.jsonl.gz``; None fetches it with apt, without root, into the cache.
        subset: how many packages of all splits together, by a hash of their family; None is all.
        cache_dir: where fetched files are kept; None is ``$LIGHTNING_CONTRAST_DATA`` or ``~/.cache/lightning_contrast``.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        DataNotFoundError: if `root` lacks the file, or there is no apt.
        ValueError: if a number is out of range.
    """

    def __init__(
        self, root: str | None = None, subset: int | None = None, cache_dir: str | None = None, **settings: Any
    ) -> None:
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        if subset is not None and subset < 1:
            raise ValueError(f"subset={subset}: must be at least 1.")
        self.root, self.subset, self.cache_dir = root, subset, cache_dir

    def prepare_data(self) -> None:
        """Fetches once per machine, before other processes look."""
        find_package_descriptions(self.root, self.cache_dir)

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split; no further documents."""
        path = find_package_descriptions(self.root, self.cache_dir)
        found, checksum = read_descriptions(path)
        self.source = f"Debian package descriptions ({len(found)} pairs, SHA-256 {checksum}) in {path.parent}"
        family = families(found)
        chosen = first_by_hash(family, self.subset)
        number = {name: at for at, name in enumerate(dict.fromkeys(family))}
        rows = TextRows(
            query=[one.short for one in found],
            document=[one.long for one in found],
            known={"label": [number[name] for name in family]},
            places=[one.package for one in found],
        )
        return in_parts(rows.take(chosen), [family[row] for row in chosen]), {}
