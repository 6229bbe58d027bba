"""Who counts as positive, and how much."""

from lightning_contrast.contrast import Paired
from lightning_contrast.targets.label_pairs import LabelPairs, LabelSimilarity, TreeOverlap
from lightning_contrast.targets.levels import Levels
from lightning_contrast.targets.nearby import Nearby
from lightning_contrast.targets.neighbours import Neighbours
from lightning_contrast.targets.same_label import SameLabel
from lightning_contrast.targets.same_score import SameScore
from lightning_contrast.targets.same_superclass import SameSuperclass
from lightning_contrast.targets.target import Target
from lightning_contrast.targets.teacher_scores import PairScore, TeacherScore, TeacherSoftmax, VectorScore
from lightning_contrast.targets.teacher_similarity import TeacherSimilarity

__all__ = [
    "LabelPairs",
    "LabelSimilarity",
    "Levels",
    "Nearby",
    "Neighbours",
    "PairScore",
    "Paired",
    "SameLabel",
    "SameScore",
    "SameSuperclass",
    "Target",
    "TeacherScore",
    "TeacherSimilarity",
    "TeacherSoftmax",
    "TreeOverlap",
    "VectorScore",
]
