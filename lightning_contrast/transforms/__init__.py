"""Between head and objective: what is done to the embeddings of a whole batch before they are compared."""

from lightning_contrast.transforms.centre import Centre
from lightning_contrast.transforms.composition import Composition
from lightning_contrast.transforms.dimension_prefix import DimensionPrefix
from lightning_contrast.transforms.gate import Gate
from lightning_contrast.transforms.group_whitening import GroupWhitening
from lightning_contrast.transforms.non_negative import NonNegative
from lightning_contrast.transforms.set_pooling import SetPooling
from lightning_contrast.transforms.transform import Transform, TransformLike

__all__ = [
    "Centre",
    "Composition",
    "DimensionPrefix",
    "Gate",
    "GroupWhitening",
    "NonNegative",
    "SetPooling",
    "Transform",
    "TransformLike",
]
