"""Short class names: whatever is imported has one, so everything public is imported before parsing."""

import importlib
import pkgutil
import warnings
from importlib.metadata import entry_points

PACKAGES = (
    "callbacks", "data", "encoders", "heads", "modules", "objectives", "optim", "regularisers", "similarities",
    "targets", "temperatures", "transforms",
)  # fmt: skip
PLUGINS = "lightning_contrast.plugins"


def import_public_classes() -> None:
    """Import every file of the rooms whose classes a YAML may name, and the modules of installed plugins.

    A package adds classes by the entry-point group ``lightning_contrast.plugins``; one that cannot be imported is
    reported and left out.
    """
    for name in PACKAGES:
        package = importlib.import_module(f"lightning_contrast.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for plugin in entry_points(group=PLUGINS):
        try:
            plugin.load()
        except Exception as error:  # anybody's code: it must not take the command line with it
            warnings.warn(f"the plugin {plugin.name!r} ({plugin.value}) cannot be imported: {error}", stacklevel=2)


def known_classes() -> dict[str, type]:
    """Concrete classes that a YAML may name, by short name."""
    import torch
    from lightning.pytorch import Callback, LightningDataModule, LightningModule
    from lightning.pytorch.loggers import Logger
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from lightning_contrast.data.samplers import EpochBatchSampler

    found: dict[str, type] = {}
    roots: list[type] = [
        Callback,
        LightningDataModule,
        LightningModule,
        Logger,
        Optimizer,
        LRScheduler,
        EpochBatchSampler,
        torch.nn.Module,
    ]
    while roots:
        root = roots.pop()
        subclasses: list[type] = root.__subclasses__()
        for one in subclasses:
            ours = one.__module__.startswith("lightning_contrast") or not issubclass(one, torch.nn.Module)
            if not one.__name__.startswith("_") and (ours or not one.__module__.startswith(("torch", "lightning"))):
                found.setdefault(one.__name__, one)
            roots.append(one)
    return found
