"""Low-rank adapters (LoRA, Hu et al. 2022) of a transformer, by ``peft``."""

import copy
from typing import Any

from torch import nn


def with_lora(model: nn.Module, settings: dict[str, Any]) -> nn.Module:
    """The model with adapters in place, which alone are trained: ``W x + alpha / r B A x`` (eq. 3).

    Args:
        model: of ``transformers``; for those that peft knows nothing of, `settings` name ``target_modules``.
        settings: of ``peft.LoraConfig``, such as ``{"r": 8, "lora_alpha": 16}``; ``modules_to_save`` is not among them.

    Raises:
        ImportError: without ``peft``.
        ValueError: for settings that peft refuses, or that name no layer of the model.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError('lora needs the package peft: pip install "lightning-contrast[text]"') from error
    if "modules_to_save" in settings:
        raise ValueError(f"lora={settings}: modules_to_save would be lost when adapters are merged; leave it out.")
    try:
        made = inject_adapter_in_model(LoraConfig(**settings), model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"lora={settings}: peft cannot make it: {str(error).splitlines()[0]}") from error
    return made


def merged(model: nn.Module) -> nn.Module:
    """A copy whose adapters are added to the weights, with the names that the model had without them."""
    from peft.tuners.lora import LoraLayer

    out = copy.deepcopy(model)
    for name, layer in list(out.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            above, _, own = name.rpartition(".")
            setattr(out.get_submodule(above), own, layer.get_base_layer())
    return out
