"""Few-shot prototypes moved to where the queries are (OpTA)."""

import torch
from torch import Tensor

from lightning_contrast.functional.distance import squared_distance
from lightning_contrast.functional.sinkhorn import sinkhorn


@torch.no_grad()
def transported_prototypes(support: Tensor, query: Tensor, epsilon: float = 0.05, iterations: int = 100) -> Tensor:
    """``row-normalised(pi) query``, where ``pi`` is the entropic transport plan from support prototypes to queries.

    The cost is the squared distance over its maximum; every prototype and every query has an equal share (Poulakakis-
    Daktylidis and Jamali-Rad 2024, BECLR, section 3.3). With one query a class and ``epsilon -> 0`` prototypes move onto
    their queries.

    Args:
        support: ``[C, D]``, the mean embedding of each class's labelled samples.
        query: ``[Q, D]``, unlabelled.
        epsilon: entropy of the plan, > 0, in units of the largest cost.
        iterations: of Sinkhorn, >= 1.

    Returns:
        ``[C, D]``: classify queries by the nearest of them.

    Raises:
        ValueError: for other shapes or values out of range.

    Example:
        >>> support, query = torch.eye(2), torch.tensor([[0.1, 0.9], [0.8, 0.2]])
        >>> transported_prototypes(support, query, epsilon=0.01).round(decimals=3).tolist()
        [[0.800000011920929, 0.20000000298023224], [0.10000000149011612, 0.8999999761581421]]
    """
    if support.dim() != 2 or query.dim() != 2 or support.shape[1] != query.shape[1] or not len(query):
        raise ValueError(
            f"transported_prototypes: support {list(support.shape)} and query {list(query.shape)} must be [C, D] and "
            "[Q, D] with at least one query."
        )
    cost = squared_distance(support, query)
    plan = sinkhorn(-(cost / cost.max().clamp(min=1e-12)).mT, epsilon, iterations).mT
    return (plan / plan.sum(1, keepdim=True)).to(query.dtype) @ query
