"""The distribution of scores over candidates is to be the teacher's."""

from lightning_contrast.contrast import Similarity
from lightning_contrast.objectives.i_con import ICon
from lightning_contrast.similarities import Dot
from lightning_contrast.targets.teacher_scores import TeacherScore, TeacherSoftmax
from lightning_contrast.temperatures import TemperatureModule


class ScoreDistillation(ICon):
    """``mean_i KL(softmax_j(t_ij / tau_t) || softmax_j(s_ij / tau))`` over the candidates of an anchor.

    Lupart et al., "DiSCo Meets LLMs" (2024): scores are matched, not embeddings, so that a student whose scores agree may lie
    elsewhere. Its gradient is that of ListNet's top-one cross-entropy (Cao et al. 2007), the listwise loss, which differs by
    the teacher's entropy. A teacher that is sure of the positive makes it InfoNCE.

    Sure: medium.

    Args:
        temperature: of the student, a number > 0 or a temperature module.
        teacher_temperature: > 0.
        similarity: ``None`` is the inner product.
        teacher: ``None`` is :class:`~lightning_contrast.targets.VectorScore`; of several teachers it takes the mean.

    Raises:
        ValueError: for a temperature <= 0.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> ScoreDistillation()(Contrast.from_pairs(eye, eye, teacher=eye)).item()
        0.0
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 1.0,
        teacher_temperature: float = 1.0,
        similarity: Similarity | None = None,
        teacher: TeacherScore | None = None,
    ) -> None:
        target = TeacherSoftmax(teacher_temperature, teacher)
        super().__init__(temperature, similarity=similarity or Dot(), target=target)
