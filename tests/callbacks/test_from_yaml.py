"""Every callback from YAML, and together in one run."""

import lightning.pytorch as pl
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

import lightning_contrast.callbacks as rooms
from tests.callbacks.kit import assert_resumes_exactly, fit, moco, simclr
from tests.modules.test_processes import Sharded

ALL = {
    "TemperatureSchedule": {"start": 0.1, "end": 0.3, "kind": "cyclic", "period": 8},
    "MemoryQueue": {"size": 100, "payload": ["index", "label"], "dtype": "bfloat16"},
    "MemoryBank": {"momentum": 0.5, "negatives": 20, "scalars": ["loss"], "history": 2},
    "PrototypeMemory": {"prototypes": 6, "assign": "sinkhorn", "every_n_epochs": 1},
    "HardNegativeRefresh": {"num_negatives": 2, "every_n_steps": 3},
    "FalseNegativeFilter": {"max_score": 0.999, "blocks": ["queue", "bank"]},
    "AdversarialNegatives": {"size": 8, "scale": 2.0, "dim": 16},
    "NoiseNegatives": {"count": 12, "ascent": 1, "beta": 0.01},
    "ImportanceWeights": {"key": "label", "kind": "log_weight", "maximum": 1.5, "blocks": ["queue"]},
    "HardestNegatives": {"count": 60, "blocks": ["queue", "bank"]},
    "StageClusters": {"clusters": 3, "stages": 2},
    "MixedNegatives": {"hardest": 16, "mixed": 8, "with_anchor": 4},
    "HardnessWeighting": {"beta": 0.5},
    "Debiasing": {"tau_plus": 0.05},
    "OnlineKNN": {"k": 5, "bank_size": 64},
    "OnlineLinearProbe": {"steps": 3, "bank_size": 64},
    "GeometryMonitor": {"sample": 64},
    "Reembed": {"every_n_epochs": 2},
}


def from_yaml(name):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(pl.Callback, "callback")
    config = {"class_path": f"lightning_contrast.callbacks.{name}", "init_args": ALL[name]}
    # Through text, since YAML reads some words (on, off, no) as no words.
    return parser.instantiate(
        parser.parse_string(yaml.safe_dump({"callback": config}, sort_keys=False).replace("'", ""))
    ).callback


@pytest.mark.parametrize("name", ALL)
def test_from_yaml(name):
    callback = from_yaml(name)
    assert type(callback) is getattr(rooms, name)
    for key, value in ALL[name].items():
        held = getattr(callback, key, value)
        held = list(held.table) if key == "scalars" else held
        assert (list(held) if isinstance(held, tuple) else held) == value


@pytest.mark.parametrize("build", [moco, simclr], ids=["moco", "simclr"])
def test_all_together_resume_exactly(tmp_path, build):
    from tests.callbacks.test_online_evaluation import split

    assert_resumes_exactly(tmp_path, build, lambda: [from_yaml(n) for n in ALL], val=split(1200, 1264))


@pytest.mark.parametrize("exchange", ["gather", "ring", "none"])
def test_the_queue_holds_everybodys_keys_however_rows_are_exchanged(tmp_path, exchange):
    class Keep(pl.Callback):
        def on_train_end(self, trainer, pl_module):
            queue = next(c for c in trainer.callbacks if isinstance(c, rooms.MemoryQueue))
            torch.save(queue.state_dict(), tmp_path / f"{trainer.global_rank}.pt")

    module = simclr(dropout=0, exchange=exchange)
    callbacks = [rooms.MemoryQueue(500), rooms.GeometryMonitor(), rooms.FalseNegativeFilter(max_score=0.99), Keep()]
    fit(
        module, callbacks, 3, data=Sharded(2, ("views",)), use_distributed_sampler=False, strategy="ddp_fork", devices=2
    )
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True)["columns"] for rank in range(2))
    assert torch.equal(one["z/0"], two["z/0"])
    assert one["payload/index"].tolist() == [
        i for step in range(3) for _ in range(2) for i in range(32 * step, 32 * step + 32)
    ]
