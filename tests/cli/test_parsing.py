"""What a configuration becomes: round trips, short names, nothing left over from a replaced class."""

import inspect
import re

import pytest
import yaml
from torch import optim

from lightning_contrast.cli.classes import known_classes
from lightning_contrast.cli.main import COMMANDS, TRAINER
from lightning_contrast.cli.trainer import ContrastiveCLI
from lightning_contrast.encoders import MLPEncoder, SmallResNet
from lightning_contrast.modules import ContrastiveModule
from lightning_contrast.objectives import SupCon
from lightning_contrast.optim import LARS


def printed(shell, *args):
    return yaml.safe_load(shell("fit", *args, "--print_config"))


def test_print_config_round_trips(shell, tiny, tmp_path):
    first = printed(shell, "--config", tiny)
    again = tmp_path / "tiny2.yaml"
    again.write_text(yaml.safe_dump(first))
    second = printed(shell, "--config", str(again))
    assert second == first
    assert first["model"]["init_args"]["objective"]["init_args"]["temperature"] == 0.2


@pytest.mark.parametrize("recipe", ["simclr", "moco-v2", "supcon"])
def test_recipes_round_trip(shell, recipe, tmp_path):
    first = printed(shell, "--config", recipe)
    path = tmp_path / f"{recipe}.yaml"
    path.write_text(yaml.safe_dump(first))
    assert printed(shell, "--config", str(path)) == first


def defaults(cls):
    skipped = ("self", "params", "optimizer")
    found = inspect.signature(cls.__init__).parameters.items()
    return {k: v.default for k, v in found if k not in skipped and v.default is not inspect.Parameter.empty}


@pytest.mark.parametrize(
    ("key", "name", "cls"),
    [
        ("optimizer", "torch.optim.SGD", optim.SGD),
        ("optimizer", "torch.optim.Adam", optim.Adam),
        ("optimizer", "LARS", LARS),
        ("lr_scheduler", "torch.optim.lr_scheduler.CosineAnnealingLR", optim.lr_scheduler.CosineAnnealingLR),
        ("lr_scheduler", "torch.optim.lr_scheduler.StepLR", optim.lr_scheduler.StepLR),
        ("encoder", "SmallResNet", SmallResNet),
        ("encoder", "MLPEncoder", MLPEncoder),
        ("objective", "SupCon", SupCon),
    ],
)
def test_another_class_has_its_own_defaults(shell, tiny, key, name, cls):
    needed = {"LARS": ["--model.optimizer.lr=1"], "CosineAnnealingLR": ["--model.lr_scheduler.T_max=5"]}
    needed["StepLR"] = ["--model.lr_scheduler.step_size=5"]
    extra = needed.get(cls.__name__, [])
    made = printed(shell, "--config", tiny, f"--model.{key}={name}", *extra)["model"]["init_args"][key]
    assert made["class_path"].endswith(cls.__name__)
    expected = {k: list(v) if isinstance(v, tuple) else v for k, v in defaults(cls).items()}
    for option in extra:
        option_name, value = option.split(f"{key}.")[1].split("=")
        expected[option_name] = float(value)
    found = {k: v for k, v in made["init_args"].items() if k in expected or v is not None}
    assert found == {k: v for k, v in expected.items() if k in found}
    assert found.get("weight_decay", 0.0) != 0.5
    assert found.get("temperature", 0.1) != 0.2


def test_the_optimizer_itself_has_no_stale_weight_decay(tiny):
    import torch

    cli = ContrastiveCLI(args=["--config", tiny, "--model.optimizer", "SGD", "--model.optimizer.lr", "0.5"], run=False)
    (group,) = cli.model.optimizer([{"params": [torch.nn.Parameter(torch.ones(2, 2))]}]).param_groups
    assert group["weight_decay"] == 0.0
    assert group["lr"] == 0.5


def test_one_seed_for_all_but_what_is_set(tiny):
    cli = ContrastiveCLI(args=["--config", tiny, "--seed_everything=7"], run=False)
    assert cli.datamodule.seed == 7
    cli = ContrastiveCLI(args=["--config", tiny, "--seed_everything=7", "--data.seed=3"], run=False)
    assert cli.datamodule.seed == 3


def test_a_subclass_by_its_path(tiny):
    cli = ContrastiveCLI(args=["--config", tiny, "--model=tests.cli.own.Shout", "--model.loud=true"], run=False)
    assert type(cli.model).__name__ == "Shout"
    assert cli.model.loud
    assert cli.model.encoder.output_dim == 32


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--model.encoder=SmalCNN"], ["model.encoder", "SmalCNN", "nearest: SmallCNN"]),
        (["--model.encoder.widdths=[1]"], ["SmallCNN", "widdths", "nearest: widths"]),
        (["--model.encodr=SmallCNN"], ["ContrastiveModule", "encodr", "nearest: encoder"]),
        (["--model.objective.temprature=0.3"], ["InfoNCE", "temprature", "nearest: temperature"]),
        (["--model.objective.temperature=hot"], ["temperature", "hot"]),
        (["--traner.max_epochs=3"], ["traner", "nearest: trainer"]),
        (["--trainer.max_epoch=3"], ["--trainer.max_epoch;", "nearest: trainer.max_epochs"]),
        (["--config={trainer: {max_epoch: 3}}"], ["trainer.max_epoch", "nearest: trainer.max_epochs"]),
        (["--model.optimizer.learning_rate=3"], ["model.optimizer: AdamW", "learning_rate", "lr"]),
        (["--trainer.callbacks+=MemoryQueue", "--trainer.callbacks.sise=3"], ["MemoryQueue", "sise", "nearest: size"]),
        (["--model.encoder=absent_package.Net"], ["model.encoder", "absent_package.Net", "no module"]),
        (["--model.encoder=torch.nn.Linear"], ["torch.nn.Linear", "ModuleEncoder"]),
        (["--trainer.callbacks=EarlyStoping"], ["EarlyStoping", "nearest: EarlyStopping"]),
        (["--data=DigtsDataModule"], ["DigtsDataModule", "nearest: DigitsDataModule"]),
        (["--data.batchsize=3"], ["DigitsDataModule", "batchsize", "nearest: batch_size"]),
        (["--model.objectve.temperature=2"], ["model: ContrastiveModule", "objectve", "nearest: objective"]),
        (["--data.augmentaton.blur=2"], ["DigitsDataModule", "augmentaton.blur", "nearest: augmentation"]),
        (["another.yaml"], ["'another.yaml' belongs to no option", "--config another.yaml"]),
        (["--config={model: {encodr: 3}}"], ["encodr", "nearest: encoder"]),
        (["--config={modl: {encoder: SmallCNN}}"], ["modl", "nearest: model"]),
        (["--model.objective.temperature=-1"], ["-1"]),
        (["--data.batch_size=0"], ["batch_size", "0"]),
        (["--data=ImageFolderDataModule", "--data.image_size=8"], ["requires root", "--data.root"]),
        (["--data=ImageFolderDataModule", "--data.root=/absent"], ["/absent"]),
        (["--trainer.accelerator=cuda"], ["CUDAAccelerator"]),
    ],
)
def test_errors_in_one_message(shell, tiny, args, words, capsys):
    code = 1 if args[-1].endswith(("=-1", "=0", "=cuda", "/absent")) else 2
    told = shell.fails("fit", "--config", tiny, *args, "--trainer.default_root_dir", str(shell.root), code=code)
    assert all(word in told for word in words), told
    assert len([line for line in told.splitlines() if line.startswith("error:")]) == 1
    assert not shell.runs()


def test_nothing_to_train(shell):
    assert "--config" in shell.fails("fit")


def test_first_help_is_short_and_true(shell):
    """What it names is there; the whole help has no import paths and no types as Python spells them."""
    whole = shell("fit", "--help", "all")
    assert "Union[" not in whole
    assert "known subclasses" not in whole
    assert ":paramref:" not in whole
    assert "(type: bool | int, default: 0)" in whole
    known = {*re.findall(r"--[\w.]+", whole), "--output", "--print_config", "--help"}
    known |= {f"--model.{name}" for name in inspect.signature(ContrastiveModule).parameters}
    classes = known_classes()
    for one in (classes["ImageFolderDataModule"], classes["TextDataModule"]):
        known |= {f"--data.{name}" for name in inspect.signature(one).parameters}
    for command in TRAINER:
        told = shell(command, "--help")
        assert told.startswith(f"usage: lightning-contrast {command} --config RECIPE_OR_FILE")
        assert f"  lightning-contrast {command} --config" in told
        assert len(told.splitlines()) < 60
        assert max(map(len, told.splitlines())) <= 110
        assert {name.rstrip(".") for name in re.findall(r"--[\w.]+", told)} <= known | {
            "--model.objective.temperature", "--model.optimizer.lr", "--model.encoder.help"
        }  # fmt: skip
        assert set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+|InfoNCE|SupCon|SigLIP", told)) <= {*classes, "MyNet", "MyData"}
    assert "--help everything" in shell.fails("fit", "--help", "everything")


def test_every_command_ends_its_help_with_examples(shell):
    for command in set(COMMANDS) - set(TRAINER):
        told = shell(command, "--help")
        lines = told.partition("examples:\n")[2].splitlines()
        assert lines, f"{command} gives no example"
        assert all(line.startswith(f"  lightning-contrast {command}") for line in lines)


def test_help_of_a_class(shell):
    assert "--encoder.widths" in shell("fit", "--model.encoder.help", "SmallCNN")
