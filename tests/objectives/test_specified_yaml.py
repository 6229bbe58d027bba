"""Python = YAML: every specified class is built from plain values by its name."""

import pytest
from jsonargparse import ArgumentParser

from lightning_contrast import objectives, regularisers
from lightning_contrast.objectives import Objective
from lightning_contrast.regularisers import Regulariser

GIVEN = {"GML": {"class_counts": [3, 1]}, "MSC": {"dim": 4}, "ISogCLR": {"samples": 9}, "CrossEntropy": {"classes": 3}}
GIVEN["Beside"] = {"objective": {"class_path": "lightning_contrast.objectives.SupCon"}}
NAMES = ["CACR", "CMIM", "GML", "HNNCE", "ICon", "ISogCLR", "KernelInfoNCE", "MACL", "MCL", "MSC", "MVDHEL"]
NAMES += ["MVInfoNCE", "AlignUniform", "DecoupledUniformity", "GroCo", "PixContrast", "PixPro", "PolyView"]
NAMES += ["Saunshi", "SepCLR", "SupReMix", "ZLoss", "HardContrastive", "JointSupCon"]


@pytest.mark.parametrize("name", NAMES)
def test_objectives(name: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "objective")
    config = {"class_path": f"lightning_contrast.objectives.{name}", "init_args": GIVEN.get(name, {})}
    built = parser.instantiate_classes(parser.parse_object({"objective": config})).objective
    assert type(built) is getattr(objectives, name)


TERMS = [n for n in regularisers.__all__ if issubclass(getattr(regularisers, n), Regulariser)]


@pytest.mark.parametrize("name", [n for n in TERMS if n != "Regulariser"])
def test_regularisers(name: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Regulariser, "regulariser")
    config = {
        "class_path": f"lightning_contrast.regularisers.{name}",
        "init_args": {"weight": 0.5, **GIVEN.get(name, {})},
    }
    built = parser.instantiate_classes(parser.parse_object({"regulariser": config})).regulariser
    assert built.weight == 0.5


def test_parts_by_class_path() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "objective")
    label = {"class_path": "lightning_contrast.targets.SameLabel"}
    config = {"class_path": "lightning_contrast.objectives.ICon", "init_args": {"kernel": "student", "target": label}}
    built = parser.instantiate_classes(parser.parse_object({"objective": config})).objective
    assert type(built.target).__name__ == "SameLabel"
