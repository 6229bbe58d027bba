"""A small WordNet in the format of the real one: things of six kinds, each with a broader meaning above it."""

from pathlib import Path

KINDS = {"dog": 5, "boat": 6, "song": 10, "tree": 20, "meal": 13, "coat": 6}
LOOKS = ("red", "large", "quiet", "wooden", "swift", "heavy", "narrow", "old", "cheap", "round")
PLACES = ("of the hills", "from the river", "for children", "in winter")


def lines() -> list[str]:
    """A root, six kinds, and forty things of each."""
    out = ["  1 This is where the licence stands."]
    out.append("00000001 03 n 01 thing 0 000 | anything at all that there is  ")
    for k, (kind, category) in enumerate(KINDS.items()):
        above = 100 + k
        out.append(
            f"{above:08d} {category:02d} n 02 {kind} 0 {kind}_proper 1 001 @ 00000001 n 0000 | "
            f'every {kind} and whatever is like one; "look at that {kind}"  '
        )
        for i, (look, place) in enumerate((look, place) for look in LOOKS for place in PLACES):
            word = f"{look}_{kind}_{i}"
            out.append(
                f"{1000 * above + i:08d} {category:02d} n 01 {word} 0 001 @ {above:08d} n 0000 | "
                f"a {look} {kind} {place}, number {i}  "
            )
    return out


def write_wordnet(folder: Path) -> Path:
    """The folder as `root` of the DataModule."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.noun").write_text("\n".join(lines()) + "\n")
    (folder / "data.verb").write_text("00000002 38 v 01 run 0 000 01 + 02 00 | move fast on foot  \n")
    (folder / "data.adj").write_text("00000003 00 s 02 able(p) 0 fit 0 000 | having the means to do something  \n")
    (folder / "data.adv").write_text('00000004 02 r 01 barely 0 000 | only just so; "barely there"  \n')
    return folder
