"""Small encoders, the adapter that brings any other module under them, and teachers."""

from lightning_contrast.encoders.bag_of_words import BagOfWords
from lightning_contrast.encoders.cached import Cached
from lightning_contrast.encoders.domain_experts import DomainExperts
from lightning_contrast.encoders.dropout_rates import DropoutRates
from lightning_contrast.encoders.encoder import Encoder, EncoderLike, ModuleEncoder
from lightning_contrast.encoders.frozen import Frozen
from lightning_contrast.encoders.latent_attention import LatentAttention
from lightning_contrast.encoders.masked_patches import MaskedPatches
from lightning_contrast.encoders.mlp import MLPEncoder
from lightning_contrast.encoders.momentum import Momentum
from lightning_contrast.encoders.noise_conditioned import NoiseConditioned
from lightning_contrast.encoders.precomputed import Precomputed
from lightning_contrast.encoders.prompted import Prompted
from lightning_contrast.encoders.scattering import Scattering, ScatteringCNN
from lightning_contrast.encoders.side_by_side import SideBySide
from lightning_contrast.encoders.small_cnn import SmallCNN
from lightning_contrast.encoders.small_resnet import SmallResNet
from lightning_contrast.encoders.snapshot import Snapshot
from lightning_contrast.encoders.sparse_text import SparseTextEncoder
from lightning_contrast.encoders.teacher import Teacher
from lightning_contrast.encoders.text import TextEncoder
from lightning_contrast.encoders.upscaler import Upscaler

__all__ = [
    "BagOfWords",
    "Cached",
    "DomainExperts",
    "DropoutRates",
    "Encoder",
    "EncoderLike",
    "Frozen",
    "LatentAttention",
    "MLPEncoder",
    "MaskedPatches",
    "ModuleEncoder",
    "Momentum",
    "NoiseConditioned",
    "Precomputed",
    "Prompted",
    "Scattering",
    "ScatteringCNN",
    "SideBySide",
    "SmallCNN",
    "SmallResNet",
    "Snapshot",
    "SparseTextEncoder",
    "Teacher",
    "TextEncoder",
    "Upscaler",
]
