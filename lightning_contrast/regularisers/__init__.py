"""Terms of embeddings that are added beside the contrastive loss."""

from lightning_contrast.regularisers.beside import Beside
from lightning_contrast.regularisers.care import CARE
from lightning_contrast.regularisers.cluster_band import ClusterBand
from lightning_contrast.regularisers.conr import ConR
from lightning_contrast.regularisers.cross_entropy import CrossEntropy
from lightning_contrast.regularisers.dispersive import Dispersive
from lightning_contrast.regularisers.latent_codes import LatentCodes
from lightning_contrast.regularisers.regularised import Regularised
from lightning_contrast.regularisers.regulariser import Regulariser
from lightning_contrast.regularisers.rotation_pretext import RotationPretext
from lightning_contrast.regularisers.ucf import UCF

__all__ = [
    "CARE",
    "UCF",
    "Beside",
    "ClusterBand",
    "ConR",
    "Dispersive",
    "LatentCodes",
    "Regularised",
    "Regulariser",
    "RotationPretext",
]
from lightning_contrast.regularisers.transport_matching import TransportMatching

__all__ = [
    "CARE",
    "UCF",
    "ConR",
    "CrossEntropy",
    "Dispersive",
    "Regularised",
    "Regulariser",
    "TransportMatching",
]
