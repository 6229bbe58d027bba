"""The centre of the training data, before anything is trained (mean-shifted contrast)."""

from typing import Any

from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.callbacks.embedding import embedded, first_input, training_source
from lightning_contrast.similarities.mean_shifted import MeanShifted


class CentreOfFeatures(ContrastCallback):
    """Embeds all training samples once before the first step and gives ``MeanShifted`` their centre (Reiss and Hoshen 2023).

    Start from a trained encoder (``init_from``): the centre is that of its embeddings. A resumed run, or one whose
    checkpoint has a centre, keeps that one. Samples as in :class:`Reembed`: not augmented, shared over processes.

    Raises:
        ValueError: at set-up for an objective without such a similarity; before training for data without length or items.
    """

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Looks for the similarity."""
        super().setup(trainer, pl_module, stage)
        if not isinstance(pl_module.objective.similarity, MeanShifted):
            raise ValueError(
                f"CentreOfFeatures gives a centre to the similarity MeanShifted, but {type(pl_module.objective).__name__} "
                f"has {type(pl_module.objective.similarity).__name__}: use objectives.MSC."
            )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Finds the centre, unless there is one."""
        similarity = pl_module.objective.similarity
        if bool(similarity.ready):
            return
        trainer.fit_loop.setup_data()  # earlier than usual: the check of the validation needs the centre already
        source = training_source(trainer, type(self).__name__)
        data = embedded(trainer, pl_module, source, lambda batch: {"z": pl_module.project(first_input(batch))})
        similarity.set_centre(data["z"].float())
