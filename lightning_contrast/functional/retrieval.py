"""Retrieval over embeddings by streaming top-k, relevance by equal group (label, or id of the pair) or as judged."""

import torch
from torch import Tensor

from lightning_contrast.functional import ranking
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.nearest import check_embeddings, nearest

NEEDS_R = ("r_precision", "map@r")
FIGURES = ("recall", "hit_rate", "precision", "mrr", "ndcg", "map")
DEFAULT = ("precision@1", "r_precision", "map@r", "recall@10", "mrr@10", "ndcg@10", "map@100")
QUERIES = 2048  # queries whose ranked lists are held at a time


def parse_figure(name: str) -> tuple[str, int]:
    """Split a name such as ``"mrr@10"`` into figure and cut-off (0 for those that cut at R).

    Raises:
        ValueError: an unknown name.

    Example:
        >>> parse_figure("ndcg@10")
        ('ndcg', 10)

    """
    if name in NEEDS_R:
        return name, 0
    figure, _, cut = name.partition("@")
    if figure not in FIGURES or not cut.isdecimal() or int(cut) < 1:
        allowed = ", ".join([*NEEDS_R, *(f"{f}@k" for f in FIGURES)])
        raise ValueError(f"unknown retrieval figure {name!r}; allowed are {allowed}, with k a number from 1.")
    return figure, int(cut)


@torch.no_grad()
def retrieval_figures(
    query: Tensor,
    corpus: Tensor,
    query_group: Tensor,
    corpus_group: Tensor,
    figures: tuple[str, ...] | list[str] = DEFAULT,
    *,
    query_ids: Tensor | None = None,
    corpus_ids: Tensor | None = None,
    normalize: bool = True,
) -> dict[str, Tensor]:
    """Rank the corpus for every query by similarity and average the figures over queries that have an answer.

    Values equal ``torchmetrics.retrieval`` (``map@k``: sentence-transformers' rule, which divides by
    min(k, relevant)); scores exist one tile at a time. Equal scores rank by corpus row.

    Args:
        query: [Q, D].
        corpus: [M, D].
        query_group: integers [Q]; corpus rows of the same group are relevant (labels, or the id of the pair).
        corpus_group: integers [M].
        figures: names: ``precision@k``, ``recall@k``, ``hit_rate@k``, ``mrr@k``, ``ndcg@k``, ``map@k``,
            ``r_precision``, ``map@r`` (the last two rank as many rows as the largest group has).
        query_ids: integers [Q]; with ``corpus_ids``, rows of equal id are not ranked (a query inside the
            corpus).
        corpus_ids: integers [M].
        normalize: rank by cosine; else by the dot product.

    Returns:
        Each figure, 0-d float64 in [0, 1]; ``nan`` if no query has a relevant row.

    Raises:
        ValueError: unknown names or wrong shapes.

    Example:
        >>> query, corpus = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.1], [0.0, 1.0], [1.0, 1.0]])
        >>> retrieval_figures(query, corpus, torch.tensor([5]), torch.tensor([1, 2, 5]), ["mrr@10"])
        {'mrr@10': tensor(0.5000, dtype=torch.float64)}

    """
    values, answered = query_figures(
        query,
        corpus,
        query_group,
        corpus_group,
        figures,
        query_ids=query_ids,
        corpus_ids=corpus_ids,
        normalize=normalize,
    )
    return {name: value.sum() / answered.sum() for name, value in values.items()}


@torch.no_grad()
def query_figures(
    query: Tensor,
    corpus: Tensor,
    query_group: Tensor,
    corpus_group: Tensor,
    figures: tuple[str, ...] | list[str] = DEFAULT,
    *,
    query_ids: Tensor | None = None,
    corpus_ids: Tensor | None = None,
    normalize: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """:func:`retrieval_figures` of each query, float64 [Q] (0 without an answer), and whether it has an answer, bool [Q].

    Args and errors as there.

    Example:
        >>> z, group = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
        >>> ids = torch.arange(3)
        >>> query_figures(z, z, group, group, ["precision@1"], query_ids=ids, corpus_ids=ids)
        ({'precision@1': tensor([1., 1., 0.], dtype=torch.float64)}, tensor([ True,  True, False]))

    """
    parsed = {name: parse_figure(name) for name in figures}
    check_embeddings("query", query)
    check_embeddings("corpus", corpus, width=query.shape[1])
    for name, group, z in (("query_group", query_group, query), ("corpus_group", corpus_group, corpus)):
        if group.shape != (len(z),):
            raise ValueError(f"{name} must have one entry a row, [{len(z)}]; got {tuple(group.shape)}.")
    relevant = relevant_counts(query_group, corpus_group, query_ids, corpus_ids)
    depth = _depth(figures, relevant)
    parts: dict[str, list[Tensor]] = {name: [] for name in figures}
    for start in range(0, len(query), QUERIES):
        part = slice(start, start + QUERIES)
        ids = None if query_ids is None else query_ids[part]
        _, row = nearest(query[part], corpus, depth, query_ids=ids, bank_ids=corpus_ids, normalize=normalize)
        hits = (corpus_group[row.clamp_min(0)] == query_group[part, None]) & (row >= 0)
        for name, (figure, cut) in parsed.items():
            parts[name].append(per_query(figure, cut, hits, relevant[part]))
    empty = torch.zeros(0, dtype=torch.float64, device=query.device)
    return {name: torch.cat([empty, *values]) for name, values in parts.items()}, relevant > 0


@torch.no_grad()
def judged_figures(
    query: Tensor,
    corpus: Tensor,
    corpus_id: Tensor,
    judged: Judgements,
    figures: tuple[str, ...] | list[str] = DEFAULT,
    *,
    normalize: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """The figures of each query, float64 [Q] (0 without an answer), and whether it has an answer, bool [Q].

    nDCG's gains are the grades; to all others a document is relevant whose grade is above 0. Documents that are judged
    but cannot be found, as they are not in the corpus, do not count.

    Args:
        query: [Q, D].
        corpus: [M, D].
        corpus_id: integers [M], each once.
        judged: of Q queries.
        figures: as for :func:`retrieval_figures`.
        normalize: rank by cosine; else by the dot product.

    Raises:
        ValueError: unknown names or wrong shapes.

    Example:
        >>> corpus = torch.tensor([[1.0, 0.1], [0.0, 1.0], [1.0, 1.0]])
        >>> judged = Judgements(torch.tensor([0, 0]), torch.tensor([8, 9]), torch.tensor([1.0, 3.0]), queries=1)
        >>> judged_figures(torch.tensor([[1.0, 0.0]]), corpus, torch.tensor([8, 7, 9]), judged, ["ndcg@10"])[0]
        {'ndcg@10': tensor([0.7967], dtype=torch.float64)}

    """
    check_embeddings("query", query)
    check_embeddings("corpus", corpus, width=query.shape[1])
    if corpus_id.shape != (len(corpus),) or judged.queries != len(query):
        raise ValueError(
            f"corpus_id must be [{len(corpus)}], and {len(query)} queries judged; got {tuple(corpus_id.shape)} and "
            f"{judged.queries}."
        )
    judged = judged.among(corpus_id)
    parts: list[dict[str, Tensor]] = []
    for rows in torch.arange(len(query), device=query.device).split(QUERIES):
        part = judged.take(rows)
        _, row = nearest(query[rows], corpus, _depth(figures, part.relevant), normalize=normalize)
        parts.append(_figures_of(corpus_id[row], part, figures))
    empty = {name: torch.zeros(0, dtype=torch.float64, device=query.device) for name in figures}
    return {name: torch.cat([part[name] for part in (empty, *parts)]) for name in figures}, judged.relevant > 0


def figures_of_ranked(
    row: Tensor, corpus_id: Tensor, judged: Judgements, figures: tuple[str, ...] | list[str] = DEFAULT
) -> tuple[dict[str, Tensor], Tensor]:
    """The figures of a search that has been made: by words, by another index; else as :func:`judged_figures`.

    Args:
        row: rows of the corpus, best first, int64 [Q, K]; -1 where nothing was found. K bounds what is seen.
        corpus_id: integers [M], each once.
        judged: of Q queries.
        figures: as for :func:`retrieval_figures`.

    Raises:
        ValueError: unknown names.

    Example:
        >>> judged = Judgements.of_pairs(torch.tensor([5]))
        >>> figures_of_ranked(torch.tensor([[2, 0]]), torch.tensor([5, 1, 2]), judged, ["mrr@10"])[0]
        {'mrr@10': tensor([0.5000], dtype=torch.float64)}

    """
    judged = judged.among(corpus_id)
    # nothing has an id below all others
    ids = corpus_id[row.clamp_min(0)].masked_fill(row < 0, int(corpus_id.min()) - 1)
    return _figures_of(ids, judged, figures), judged.relevant > 0


def mean_figures(found: tuple[dict[str, Tensor], Tensor]) -> dict[str, float]:
    """What :func:`judged_figures` gives, averaged over the queries that have an answer; ``nan`` without one.

    Example:
        >>> mean_figures(({"mrr@10": torch.tensor([0.5, 0.0])}, torch.tensor([True, False])))
        {'mrr@10': 0.5}

    """
    values, answered = found
    return {name: float(value.sum() / answered.sum()) for name, value in values.items()}


def _depth(figures: tuple[str, ...] | list[str], relevant: Tensor) -> int:
    cuts = [parse_figure(name)[1] for name in figures]
    needs = int(relevant.max()) if 0 in cuts and len(relevant) else 1
    return max([1, needs, *cuts])


def _figures_of(ids: Tensor, judged: Judgements, figures: tuple[str, ...] | list[str]) -> dict[str, Tensor]:
    gains, relevant, out = judged.gains(ids), judged.relevant, {}
    for name in figures:
        figure, cut = parse_figure(name)
        graded = figure == "ndcg"
        out[name] = (
            ranking.ndcg_at(gains, judged.ideal(cut), cut) if graded else per_query(figure, cut, gains > 0, relevant)
        )
    return out


def per_query(figure: str, cut: int, hits: Tensor, relevant: Tensor) -> Tensor:
    """Compute one figure of ranked hits [Q, K] with ``relevant`` [Q] relevant rows in all: float64 [Q]."""
    if figure == "r_precision":
        return ranking.r_precision(hits, relevant)
    if figure == "map@r":
        return ranking.map_at_r(hits, relevant)
    if figure == "recall":
        return ranking.recall_at(hits, relevant, cut)
    if figure == "map":
        return ranking.average_precision_at(hits, relevant, cut)
    if figure == "ndcg":
        ideal = torch.arange(cut, device=hits.device) < relevant[:, None]
        return ranking.ndcg_at(hits, ideal, cut)
    simple = {
        "hit_rate": ranking.hit_rate_at,
        "precision": ranking.precision_at,
        "mrr": ranking.reciprocal_rank_at,
    }
    return simple[figure](hits, cut)


def relevant_counts(
    query_group: Tensor,
    corpus_group: Tensor,
    query_ids: Tensor | None = None,
    corpus_ids: Tensor | None = None,
) -> Tensor:
    """Count the corpus rows of each query's group, less those that share its id: int64 [Q]."""
    group = _count_equal(query_group, corpus_group)
    if query_ids is None or corpus_ids is None:
        return group
    pairs, inverse = torch.unique(
        torch.cat([torch.stack([query_group, query_ids], 1), torch.stack([corpus_group, corpus_ids], 1)]),
        dim=0,
        return_inverse=True,
    )
    return group - torch.bincount(inverse[len(query_group) :], minlength=len(pairs))[inverse[: len(query_group)]]


def _count_equal(values: Tensor, among: Tensor) -> Tensor:
    ordered = among.sort().values
    return torch.searchsorted(ordered, values, right=True) - torch.searchsorted(ordered, values)
