"""Where a named model lies."""

from pathlib import Path

import pytest

import lightning_contrast
from lightning_contrast.functional.model_place import model_place


def test_names_and_folders_stay_as_they_are():
    assert model_place("bert-base-uncased") == "bert-base-uncased"
    assert model_place("") == ""


def test_a_folder_or_file_inside_an_installed_package():
    here = Path(lightning_contrast.__file__).parent
    assert Path(model_place("package:lightning_contrast/recipes/studies")) == here / "recipes/studies"
    assert Path(model_place("package:lightning_contrast")) == here
    assert Path(model_place("package:lightning_contrast/recipes/simcse.yaml")).is_file()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("package:no_such_package/model", "pip install no-such-package"),
        ("package:json.decoder/model", "no Python package"),
        ("package:os/model", "no Python package"),
        ("package:lightning_contrast/nowhere", "no folder or file 'nowhere'"),
    ],
)
def test_what_is_not_there(model, words):
    with pytest.raises(ValueError, match=words):
        model_place(model)
