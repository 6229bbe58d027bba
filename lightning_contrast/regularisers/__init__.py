"""Terms of embeddings that are added beside the contrastive loss."""

from lightning_contrast.regularisers.attention_information import AttentionInformation
from lightning_contrast.regularisers.beside import Beside
from lightning_contrast.regularisers.care import CARE
from lightning_contrast.regularisers.cluster_band import ClusterBand
from lightning_contrast.regularisers.conr import ConR
from lightning_contrast.regularisers.cross_entropy import CrossEntropy
from lightning_contrast.regularisers.dispersive import Dispersive
from lightning_contrast.regularisers.flops import FLOPS
from lightning_contrast.regularisers.latent_codes import LatentCodes
from lightning_contrast.regularisers.listening import ListeningRegulariser
from lightning_contrast.regularisers.regularised import Regularised
from lightning_contrast.regularisers.regulariser import Regulariser
from lightning_contrast.regularisers.replaced_tokens import ReplacedTokens
from lightning_contrast.regularisers.rotation_pretext import RotationPretext
from lightning_contrast.regularisers.token_generators import MaskedLMGenerator, TokenGenerator, UnigramGenerator
from lightning_contrast.regularisers.transport_matching import TransportMatching
from lightning_contrast.regularisers.ucf import UCF

__all__ = [
    "CARE",
    "FLOPS",
    "UCF",
    "AttentionInformation",
    "Beside",
    "ClusterBand",
    "ConR",
    "CrossEntropy",
    "Dispersive",
    "LatentCodes",
    "ListeningRegulariser",
    "MaskedLMGenerator",
    "Regularised",
    "Regulariser",
    "ReplacedTokens",
    "RotationPretext",
    "TokenGenerator",
    "TransportMatching",
    "UnigramGenerator",
]
