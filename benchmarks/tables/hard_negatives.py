"""Hard negatives of many queries: what rules cost beside the bare search, and what encoding costs beside both."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from benchmarks.table import Case, Goal, Step, Table, Work
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.functional.topk import topk
from lightning_contrast.mining import Items, Rules, mine

RULES = Rules(
    num_negatives=4,
    range_min=2,
    range_max=50,
    same_label=True,
    same_key="key",
    absolute_margin=0.02,
    relative_margin=0.05,
    max_score=0.95,
    min_score=-0.5,
    quantile=0.05,
    sampling_strategy="random",
)


def _items(corpus: int, queries: int, dim: int) -> tuple[Items, Items, torch.Tensor]:
    """Each query is a noisy copy of its own row of the corpus; documents in groups of four, labels in 5000 classes."""
    basis = torch.randn(48, dim)
    z = torch.empty(corpus, dim)
    for part in z.split(2**15):
        part.copy_(F.normalize(torch.randn(len(part), 48) @ basis + 2 * torch.randn(len(part), dim), dim=1))
    q = F.normalize(z[:queries] + 0.5 * torch.randn(queries, dim) / dim**0.5, dim=1)
    ids = torch.arange(corpus)
    label = torch.randint(0, 5000, (corpus,))
    everything = Items(z, ids, label, ids // 4)
    rows = slice(0, queries)
    return Items(q, ids[rows], label[rows], ids[rows] // 4), everything, (q * z[rows]).sum(1)


def ours(corpus: int, queries: int, dim: int) -> Step:
    q, c, positive = _items(corpus, queries, dim)
    return lambda: mine(q, c, positive, RULES)


def bare(corpus: int, queries: int, dim: int) -> Step:
    q, c, _ = _items(corpus, queries, dim)
    return lambda: topk(q.z, c.z, RULES.depth)


def encoding(corpus: int, queries: int, dim: int) -> Step:
    encoder = BagOfWords(output_dim=dim)
    words = torch.randint(1, 32768, (512, 45))

    @torch.inference_mode()
    def once() -> None:
        for start in range(0, corpus + queries, 512):
            encoder(words[: corpus + queries - start])

    return once


BARE = "bare top-50"
TABLE = Table(
    title="Hard negatives of 10k queries among 500k, D = 384",
    goals=[Goal("10k x 500k", "ours", "time", 1.2, BARE), Goal("10k x 500k", "ours", "memory", 128)],
    notes="`ours` mines with every rule on: equal samples, keys and labels, both margins, caps of the score, a quantile, the "
    "two hardest left out, four drawn of the rest of 50. The bare search has no rule. The encoding share of a refresh "
    "stands beside: texts of 45 words through the smallest encoder, the mean of word vectors; any other takes longer.",
    cases=[
        Case("1k x 50k", {"corpus": 50_000, "queries": 1000, "dim": 384}, faults=False),
        Case(
            "10k x 500k",
            {"corpus": 500_000, "queries": 10_000, "dim": 384},
            quick=False,
            repeats=1,
            alone=True,
            faults=False,
            limit=300,
        ),
    ],
    methods={"ours": ours, BARE: bare, "encoding, bag of words": encoding},
    work=lambda corpus, queries, dim: Work(2e-9 * corpus * queries * dim),
    warm={"corpus": 2000, "queries": 64, "dim": 384},
)
