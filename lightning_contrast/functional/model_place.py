"""Where the files of a named model lie."""

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "package:"


def model_place(model: str) -> str:
    """`model`, a path or a name, as it is; of ``package:NAME/PATH`` the folder or file inside an installed Python package.

    So a configuration names a model that came with ``pip install``, without a path of this machine. The package is not
    imported.

    Raises:
        ValueError: if there is no such package, or nothing lies there in it.
    """
    if not model.startswith(PACKAGE):
        return model
    name, _, inside = model.removeprefix(PACKAGE).partition("/")
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"model={model!r}: no Python package {name!r} is installed: pip install {name.replace('_', '-')}"
        )
    place = Path(spec.submodule_search_locations[0]) / inside
    if not place.exists():
        raise ValueError(f"model={model!r}: the package {name!r} has no folder or file {inside!r}.")
    return str(place)
