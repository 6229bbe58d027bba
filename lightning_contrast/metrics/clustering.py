"""Do clusters of the embeddings agree with the classes: as a Metric."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.clustering import clustering_agreement
from lightning_contrast.functional.kmeans import kmeans
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric


class ClusteringAgreement(EmbeddingMetric):
    """Agreement of k-means clusters of the embeddings (on the unit sphere) with labels.

    The first centroids depend on the order of the rows, over ranks on that of the gathered ones. See
    :func:`lightning_contrast.functional.kmeans.kmeans` and
    :func:`lightning_contrast.functional.clustering.clustering_agreement`.

    Args:
        clusters: at least 1; ``None`` is the number of classes that occur.
        iterations: of k-means at most, at least 1.
        seed: of the first centroids.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of 0-d ``nmi`` in [0, 1], ``ami`` and ``ari`` up to 1 and about 0 by chance.

    Example:
        >>> import torch
        >>> metric = ClusteringAgreement()
        >>> z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> metric.update(z, torch.tensor([0, 0, 1, 1]))
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'nmi': 1.0, 'ami': 1.0, 'ari': 1.0}

    """

    higher_is_better = True
    plot_upper_bound = 1.0
    row_states = ("embeddings", "labels")

    def __init__(self, clusters: int | None = None, iterations: int = 50, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if clusters is not None and clusters < 1:
            raise ValueError(f"clusters must be at least 1, or None for the number of classes; got {clusters}.")
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1; got {iterations}.")
        self.clusters, self.iterations, self.seed = clusters, iterations, seed

    def update(self, z: Tensor, labels: Tensor) -> None:
        """Add rows ``z`` [N, D] with ``labels`` integers [N]."""
        self.keep_rows(embeddings=z, labels=labels)

    def compute(self) -> dict[str, Tensor]:
        """Cluster all rows and compare.

        Raises:
            ValueError: fewer rows than clusters.

        """
        labels = self.rows("labels")
        clusters = len(labels.unique()) if self.clusters is None else self.clusters
        _, found = kmeans(self.rows("embeddings"), clusters, self.iterations, self.seed)
        return {name: value.float() for name, value in clustering_agreement(found, labels).items()}
