"""What metrics share that classify queries by a bank of labelled rows."""

from torch import Tensor

from lightning_contrast.metrics.embedding_metric import EmbeddingMetric


class BankMetric(EmbeddingMetric):
    """A share of queries, in [0, 1]; bank and queries are kept, and gathered over ranks."""

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    row_states = ("bank", "bank_labels", "queries", "query_labels")

    def update_bank(self, z: Tensor, labels: Tensor) -> None:
        """Add labelled rows to the bank: ``z`` [N, D], ``labels`` integers [N]."""
        self._computed = None
        self.keep_rows(bank=z, bank_labels=labels)

    def update(self, z: Tensor, labels: Tensor) -> None:
        """Add rows to be classified: ``z`` [N, D], ``labels`` integers [N]."""
        self.keep_rows(queries=z, query_labels=labels)
