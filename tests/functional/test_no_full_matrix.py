"""Evaluation never holds a score for every query and document at once."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.rank_variance import ranks_of_match
from lightning_contrast.functional.retrieval import judged_figures, retrieval_figures

Q, M = 2200, 60_000


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that anything made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.untyped_storage().nbytes() // one.element_size())
        return out


def judged(query, corpus):
    grades = Judgements(torch.arange(Q).repeat(2), torch.arange(2 * Q), torch.arange(2 * Q) % 3 + 1, Q)
    return judged_figures(query, corpus, torch.arange(M), grades, ["ndcg@10", "map@100"])


@pytest.mark.parametrize(
    "search",
    [
        judged,
        lambda query, corpus: retrieval_figures(query, corpus, torch.arange(Q), torch.arange(M), ["mrr@10"]),
        lambda query, corpus: ranks_of_match(query, corpus, torch.arange(Q)),
    ],
    ids=["judged", "groups", "ranks"],
)
def test_tiles_alone(search):
    generator = torch.Generator().manual_seed(0)
    query, corpus = torch.randn(Q, 4, generator=generator), torch.randn(M, 4, generator=generator)
    with Largest() as seen:
        search(query, corpus)
    assert M < seen.numel < Q * M / 15
