"""The student's neighbours are to be the teacher's."""

from lightning_contrast.contrast import Contrast, Similarity
from lightning_contrast.objectives.i_con import ICon
from lightning_contrast.objectives.paired import check_aligned
from lightning_contrast.targets.teacher_similarity import TeacherSimilarity
from lightning_contrast.temperatures import TemperatureModule


class SimilarityDistillation(ICon):
    """``mean_i KL(softmax_j(cos(t_i, t_j) / tau_t) || softmax_j(cos(s_i, t_j) / tau))``: over the same candidates.

    :class:`ICon` whose supervisory neighbours are a teacher's (Fang et al., "SEED: Self-supervised Distillation for Visual
    Representation", ICLR 2021, eq. 4, whose cross-entropy is this and the teacher's entropy, a constant). On
    ``Contrast.from_pairs(student, teacher)`` candidates are the teacher's vectors, the anchor's own included, and a queue's
    if there is one (``MemoryQueue(payload=["index", "teacher"])``). On ``Contrast.from_views(student)`` with payload
    ``teacher`` (``TeacherEmbedding``) the student's similarities among themselves are compared with the teacher's, so that
    the widths may differ. 0 where both distributions agree; at ``tau_t -> 0`` InfoNCE against the teacher's vector.

    Args:
        temperature: of the student, a number > 0 or a temperature module.
        teacher_temperature: > 0, usually below the student's.
        similarity: of student and candidates; ``None`` is cosine.

    Raises:
        ValueError: for a temperature <= 0, or pairs whose rows do not belong together.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> t = torch.eye(2)
        >>> SimilarityDistillation(0.2, 0.2)(Contrast.from_pairs(t, t)).item()
        0.0
    """

    provides = ("teacher",)

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.2,
        teacher_temperature: float = 0.05,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity=similarity, target=TeacherSimilarity(teacher_temperature))

    def prepare(self, contrast: Contrast) -> Contrast:
        """The teacher's vectors travel with both sides."""
        first = contrast.candidates[0]
        if not contrast.is_self and "teacher" not in contrast.anchors.payload:
            if first.where == "private":
                raise ValueError(
                    "SimilarityDistillation compares the teacher's vectors of a batch with each other: use in_batch=True."
                )
            check_aligned(contrast)
            teacher = first.first.detach()
            contrast = contrast.map_own(lambda block: block.attach(teacher=teacher))
        return super().prepare(contrast)
