"""A small sample of package descriptions, made up, with what real ones have: siblings, and equal texts."""

from itertools import product
from pathlib import Path

from lightning_contrast.data.package_descriptions import FILE, Description, write_descriptions

THINGS = {
    "calendar": "appointments, holidays and birthdays", "chess": "openings, endgames and tournaments",
    "garden": "seeds, beds and frost", "map": "streets, rivers and mountains", "mail": "letters, folders and signatures",
    "music": "songs, albums and playlists", "photo": "pictures, albums and thumbnails", "recipe": "meals, spices and ovens",
    "star": "planets, comets and constellations", "train": "stations, tracks and delays",
}  # fmt: skip
KINDS = {
    "viewer": "shows {} on the screen, and prints them on paper", "editor": "changes {} by mouse and keyboard",
    "server": "offers {} to other machines over the network", "converter": "turns {} into other file formats",
}  # fmt: skip
# Two of the four kinds share their manual.
MANUAL = {"viewer": "program", "editor": "program", "server": "server", "converter": "converter"}


def sample() -> list[Description]:
    """120 packages: 40 sources with a program, its library and its manual each."""
    out = []
    for (thing, about), (kind, what) in product(THINGS.items(), KINDS.items()):
        source, text = f"{thing}-{kind}", f"{kind.capitalize()} for the {thing}: it {what.format(about)}."
        out += [
            Description(source, source, f"{thing} {kind}", text),
            Description(f"lib{source}", source, f"{thing} {kind} - library", f"{text}\nThis is the library."),
            Description(
                f"{source}-doc", source, f"{thing} {kind} - manual", f"The manual of a {thing} {MANUAL[kind]}."
            ),
        ]
    return out


def write_sample(folder: Path) -> Path:
    """The sample as the DataModule's `root`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_descriptions(folder / FILE, sample())
    return folder
