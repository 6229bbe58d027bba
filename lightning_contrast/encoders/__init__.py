"""Small encoders, and the adapter that brings any other module under them."""

from lightning_contrast.encoders.bag_of_words import BagOfWords
from lightning_contrast.encoders.encoder import Encoder, EncoderLike, ModuleEncoder
from lightning_contrast.encoders.mlp import MLPEncoder
from lightning_contrast.encoders.momentum import Momentum
from lightning_contrast.encoders.small_cnn import SmallCNN
from lightning_contrast.encoders.small_resnet import SmallResNet

__all__ = ["BagOfWords", "Encoder", "EncoderLike", "MLPEncoder", "ModuleEncoder", "Momentum", "SmallCNN", "SmallResNet"]
