"""How sharp the softmax is: fixed, learnable, per sample, head or pair, adapted to the model."""

from lightning_contrast.temperatures.learnable import Learnable
from lightning_contrast.temperatures.model_aware import ModelAware
from lightning_contrast.temperatures.per_head import PerHead
from lightning_contrast.temperatures.per_pair import PerPair
from lightning_contrast.temperatures.per_sample import PerSample
from lightning_contrast.temperatures.temperature import Fixed, TemperatureModule

__all__ = ["Fixed", "Learnable", "ModelAware", "PerHead", "PerPair", "PerSample", "TemperatureModule"]
