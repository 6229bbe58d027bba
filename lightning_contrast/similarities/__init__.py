"""How alike an anchor and a candidate are."""

from lightning_contrast.contrast import Cosine, Dot, Similarity
from lightning_contrast.similarities.across_halves import AcrossHalves
from lightning_contrast.similarities.ball import BallDot
from lightning_contrast.similarities.bilinear import Bilinear
from lightning_contrast.similarities.complex_angle import ComplexAngle
from lightning_contrast.similarities.distance import NegativeDistance, NegativeSquaredDistance
from lightning_contrast.similarities.gated import GatedCosine
from lightning_contrast.similarities.interaction import Interaction
from lightning_contrast.similarities.lipschitz import LipschitzBilinear
from lightning_contrast.similarities.max_sim import MaxSim
from lightning_contrast.similarities.power_distance import PowerDistance

__all__ = [
    "AcrossHalves",
    "BallDot",
    "Bilinear",
    "ComplexAngle",
    "Cosine",
    "Dot",
    "GatedCosine",
    "Interaction",
    "LipschitzBilinear",
    "MaxSim",
    "NegativeDistance",
    "NegativeSquaredDistance",
    "PowerDistance",
    "Similarity",
]
