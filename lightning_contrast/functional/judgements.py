"""Which documents are relevant to which queries, and how much: what a search is scored by."""

import torch
from torch import Tensor


class Judgements:
    """Relevance of pairs, as sparse as it is given; all other pairs have grade 0.

    Of a pair that is given more than once the largest grade counts.

    Args:
        query: row of each pair's query, int64 [J].
        document: id of its document, int64 [J].
        grade: how relevant it is, [J]; finite; what is not above 0 is not relevant.
        queries: number of queries Q, those included that nothing is relevant to.

    Raises:
        ValueError: for another shape, grades that are not finite, or rows that there are not.

    Example:
        >>> judged = Judgements(torch.tensor([0, 0, 1]), torch.tensor([7, 8, 7]), torch.tensor([3.0, 1.0, 2.0]), queries=2)
        >>> judged.gains(torch.tensor([[8, 9], [9, 7]]))
        tensor([[1., 0.],
                [0., 2.]], dtype=torch.float64)
    """

    def __init__(self, query: Tensor, document: Tensor, grade: Tensor, queries: int) -> None:
        if not query.shape == document.shape == grade.shape or query.ndim != 1:
            shapes = [tuple(part.shape) for part in (query, document, grade)]
            raise ValueError(f"query, document and grade need one entry a pair, [J] each; got {shapes}.")
        if not bool(torch.isfinite(grade).all()):
            raise ValueError(f"{int((~torch.isfinite(grade)).sum())} of {len(grade)} grades are not finite.")
        if len(query) and not 0 <= int(query.min()) <= int(query.max()) < queries:
            raise ValueError(f"query has rows from {int(query.min())} to {int(query.max())}; there are {queries}.")
        keep = grade > 0
        query, document, grade = query[keep], document[keep], grade[keep].double()
        self.ids, place = document.unique(return_inverse=True)
        self.keys, pair = (query * len(self.ids) + place).unique(return_inverse=True)
        self.grade = grade.new_zeros(len(self.keys)).scatter_reduce(0, pair, grade, "amax")
        self.queries = queries

    @classmethod
    def of_pairs(cls, document: Tensor) -> "Judgements":
        """Query i asks for document i alone: ids int64 [Q]."""
        rows = torch.arange(len(document), device=document.device)
        return cls(rows, document, torch.ones(len(document), device=document.device), len(document))

    @property
    def query(self) -> Tensor:
        """Row of each relevant pair's query, int64 [J], ascending."""
        return self.keys.div(max(len(self.ids), 1), rounding_mode="floor")

    @property
    def document(self) -> Tensor:
        """Id of each relevant pair's document, int64 [J]."""
        return self.ids[self.keys % max(len(self.ids), 1)]

    @property
    def relevant(self) -> Tensor:
        """Number of relevant documents of each query, int64 [Q]."""
        return torch.bincount(self.query, minlength=self.queries)

    def take(self, rows: Tensor) -> "Judgements":
        """Those of some queries, int64 [R], each at most once; they are numbered anew in this order."""
        number = self.keys.new_full((self.queries,), -1)
        number[rows] = torch.arange(len(rows), device=rows.device)
        kept = number[self.query] >= 0
        return Judgements(number[self.query][kept], self.document[kept], self.grade[kept], len(rows))

    def among(self, ids: Tensor) -> "Judgements":
        """Those of documents that can be found, int64 [M]."""
        kept = torch.isin(self.document, ids)
        return (
            self
            if bool(kept.all())
            else Judgements(self.query[kept], self.document[kept], self.grade[kept], self.queries)
        )

    def to(self, device: torch.device) -> "Judgements":
        """On a device."""
        return Judgements(self.query.to(device), self.document.to(device), self.grade.to(device), self.queries)

    def gains(self, ids: Tensor) -> Tensor:
        """Grades of the documents that each query found, int64 [Q, K] to float64 [Q, K]."""
        if not len(self.keys):
            return torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)
        place = torch.searchsorted(self.ids, ids.contiguous()).clamp(max=len(self.ids) - 1)
        key = torch.arange(self.queries, device=ids.device)[:, None] * len(self.ids) + place
        at = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        return torch.where((self.ids[place] == ids) & (self.keys[at] == key), self.grade[at], 0.0)

    def ideal(self, k: int) -> Tensor:
        """The k largest grades of each query, falling, zeros behind, float64 [Q, k]."""
        order = self.grade.argsort(descending=True, stable=True)
        order = order[self.query[order].argsort(stable=True)]
        query, count = self.query[order], self.relevant
        place = torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[query]
        out = self.grade.new_zeros(self.queries, k)
        kept = place < k
        out[query[kept], place[kept]] = self.grade[order][kept]
        return out
