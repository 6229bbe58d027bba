"""Do clusters of the embeddings agree with the classes?"""

import torch
from torch import Tensor


def clustering_agreement(clusters: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Normalised and adjusted mutual information and adjusted Rand index of two partitions, by torchmetrics.

    The expectation under random labels of the adjusted mutual information is ours: torchmetrics' takes a minute where ten
    thousand rows take this one milliseconds.

    Args:
        clusters: integers [N].
        labels: integers [N].

    Returns:
        ``nmi`` in [0, 1], ``ami`` and ``ari`` up to 1, about 0 for independent partitions; 0-d float64. All 1 for the same
        partition, whatever its numbers.

    Raises:
        ValueError: shapes that differ, or no rows.

    Example:
        >>> found = clustering_agreement(torch.tensor([2, 2, 0, 0]), torch.tensor([0, 0, 1, 1]))
        >>> {name: round(float(value), 4) for name, value in found.items()}
        {'nmi': 1.0, 'ami': 1.0, 'ari': 1.0}

    """
    from torchmetrics.functional.clustering import adjusted_rand_score, normalized_mutual_info_score

    if clusters.shape != labels.shape or clusters.dim() != 1 or not len(clusters):
        raise ValueError(
            f"clusters and labels must be [N], N >= 1; got {list(clusters.shape)} and {list(labels.shape)}."
        )
    a, b = (partition.unique(return_inverse=True)[1] for partition in (clusters, labels))
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    table = torch.bincount(a * columns + b, minlength=rows * columns).view(rows, columns).double()
    if rows == columns == int((table > 0).sum()):
        same = table.new_ones(())
        return {"nmi": same, "ami": same, "ari": same}
    one, two, n = table.sum(1), table.sum(0), len(clusters)
    mutual = (table / n * (n * table / (one[:, None] * two)).clamp(min=1e-300).log()).sum()
    entropy = (torch.special.entr(one / n).sum() + torch.special.entr(two / n).sum()) / 2
    expected = expected_mutual_information(one, two)
    return {
        "nmi": normalized_mutual_info_score(a, b).double(),
        "ami": (mutual - expected) / (entropy - expected),
        "ari": adjusted_rand_score(a, b).double(),
    }


def expected_mutual_information(one: Tensor, two: Tensor) -> Tensor:
    """Expectation of the mutual information of two random partitions with these sizes, 0-d float64, in nats.

    Vinh, Epps and Bailey, "Information Theoretic Measures for Clusterings Comparison" (JMLR 2010), equation 24a: over how
    many rows ``m`` a cluster shares with a class, which is hypergeometric.

    Args:
        one: float64 [C], rows of each cluster, at least 1.
        two: float64 [K], rows of each class, with the same sum.

    """
    n, log_factorial = one.sum(), lambda x: torch.lgamma(x + 1)
    total = one.new_zeros(())
    for a in one:
        b = two[:, None]
        shared = torch.arange(1, int(torch.minimum(a, two.max())) + 1, device=one.device, dtype=one.dtype)[None]
        possible = (shared <= torch.minimum(a, b)) & (shared >= a + b - n)
        m = torch.where(possible, shared, torch.minimum(a, b))  # harmless numbers where the rest is masked
        log_p = log_factorial(a) + log_factorial(b) + log_factorial(n - a) + log_factorial(n - b) - log_factorial(n)
        log_p = log_p - log_factorial(m) - log_factorial(a - m) - log_factorial(b - m) - log_factorial(n - a - b + m)
        total += (m / n * (n * m / (a * b)).log() * log_p.exp()).masked_fill(~possible, 0.0).sum()
    return total
