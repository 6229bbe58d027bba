"""Evaluation of files of embeddings: rows with labels, or queries and documents."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evidence.by_search import FIGURES
from lightning_contrast.data.embedding_table import EmbeddingTable
from lightning_contrast.functional.evaluation import evaluate_embeddings
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.retrieval import judged_figures, mean_figures, query_figures, retrieval_figures

AMONG_THEMSELVES = ("precision@1", "r_precision", "map@r")
Rows = dict[str, dict[str, float]]


def of_files(table: EmbeddingTable, bank: EmbeddingTable | None, seed: int = 0) -> Rows:
    """Rows of labels: by a bank what a checkpoint's are, else each row searches the others for its label.

    Raises:
        UserError: for rows without labels, or of another width than the bank's.
    """
    z, label = torch.from_numpy(table.embedding), labels_of(table, "--embeddings")
    if bank is None:
        ids = torch.arange(len(z))
        found = retrieval_figures(z, z, label, label, AMONG_THEMSELVES, query_ids=ids, corpus_ids=ids)
        if not all(bool(value.isfinite()) for value in found.values()):
            raise UserError(
                "--embeddings: no two rows share a label, so nothing can be found; give --bank or --corpus."
            )
        return {"these embeddings": _floats(found)}
    check_widths(table, bank, "--bank")
    rows = evaluate_embeddings(torch.from_numpy(bank.embedding), labels_of(bank, "--bank"), z, label, seed=seed)
    return {"these embeddings": rows, "chance": dict.fromkeys(rows, float(label.bincount().max() / len(label)))}


def of_queries(queries: EmbeddingTable, corpus: EmbeddingTable, by: str | None, qrels: str | None) -> Rows:
    """Every query searches the corpus; relevant is what ``qrels`` says, or has an equal id in the column ``by``.

    Raises:
        UserError: where nothing says what is relevant, or it contradicts the files.
    """
    check_widths(queries, corpus, "--corpus")
    z, documents = torch.from_numpy(queries.embedding), torch.from_numpy(corpus.embedding)
    if qrels is not None:
        judged = read_qrels(Path(qrels), queries, corpus)
        return {
            "these embeddings": mean_figures(
                judged_figures(z, documents, torch.arange(len(documents)), judged, FIGURES)
            )
        }
    common = sorted(set(queries.columns) & set(corpus.columns) - {"dataloader"})
    by = by or ("document_id" if "document_id" in common else None)
    if by is None or by not in common:
        raise UserError(
            f"--by {by}: nothing says which documents are relevant: give --qrels, or --by with a column of both files "
            f"({', '.join(common) or 'there is none'})."
        )
    _, numbers = np.unique(np.concatenate([queries.columns[by], corpus.columns[by]]), return_inverse=True)
    groups = torch.from_numpy(numbers)
    found = retrieval_figures(z, documents, groups[: len(z)], groups[len(z) :], FIGURES)
    if not all(bool(value.isfinite()) for value in found.values()):
        raise UserError(f"--by {by}: no query has a relevant document.")
    return {"these embeddings": _floats(found)}


def read_qrels(path: Path, queries: EmbeddingTable, corpus: EmbeddingTable) -> Judgements:
    """Grades by row of the query and row of the document, from lines ``query document grade`` (tabs or blanks; TREC's
    four columns too; a first line of names is skipped).

    Raises:
        UserError: for lines that cannot be read, and for ids that are not in the files.
    """
    if not path.is_file():
        raise UserError(f"--qrels {path}: there is no such file.")
    triples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        words = [words[0], *words[2:]] if len(words) == 4 else words
        try:
            query, document, grade = int(words[0]), int(words[1]), float(words[2])
        except (ValueError, IndexError):
            if number > 1 and line.strip():
                raise UserError(
                    f"--qrels {path}, line {number}: expected `query document grade`, got {line!r}."
                ) from None
            continue
        if grade > 0:
            triples.append((query, document, grade))
    if not triples:
        raise UserError(f"--qrels {path}: no relevant pair in it.")
    try:
        rows = queries.rows_of(np.array([q for q, _, _ in triples]), f"--qrels {path}: the queries")
        documents = corpus.rows_of(np.array([d for _, d, _ in triples]), f"--qrels {path}: the documents")
    except ValueError as error:
        raise UserError(str(error)) from error
    grades = torch.tensor([grade for _, _, grade in triples])
    return Judgements(torch.from_numpy(rows), torch.from_numpy(documents), grades, len(queries))


def among_themselves(z: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Figures of each row, float64 ``[N]``: it searches the others for its label."""
    ids = torch.arange(len(z))
    return query_figures(z, z, label, label, AMONG_THEMSELVES, query_ids=ids, corpus_ids=ids)[0]


def labels_of(table: EmbeddingTable, who: str) -> Tensor:
    """Labels ``[N]`` from 0; strings are numbered by alphabet.

    Raises:
        UserError: if there are none.
    """
    if "label" not in table.columns:
        raise UserError(f"{who}: no column 'label', by which rows could be scored; there are {sorted(table.columns)}.")
    label = table.columns["label"]
    if label.dtype.kind not in "iub":
        if label.dtype.kind == "f":
            raise UserError(f"{who}: labels must be whole numbers or strings, got {label.dtype}.")
        label = np.unique(label, return_inverse=True)[1]
    label = label.astype(np.int64)
    if len(label) and label.min() < 0:
        raise UserError(f"{who}: {(label < 0).sum()} labels are negative; leave rows without a label out.")
    return torch.from_numpy(label)


def check_widths(one: EmbeddingTable, other: EmbeddingTable, who: str) -> None:
    """Whether two files can be of one encoder.

    Raises:
        UserError: for different widths, or weights that are known to be different.
    """
    a, b = one.embedding.shape[1], other.embedding.shape[1]
    if a != b:
        raise UserError(
            f"{who}: its rows have {b} numbers, those of --embeddings {a}; both must come from one encoder."
        )
    mine, theirs = (table.made_by.get("weights") for table in (one, other))
    if mine and theirs and mine != theirs:
        raise UserError(
            f"{who}: embedded with other weights than --embeddings: similarities between them mean nothing."
        )


def _floats(found: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items()}
