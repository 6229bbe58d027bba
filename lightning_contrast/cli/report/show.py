"""How one item is shown: its picture or its text, its class, always escaped."""

from dataclasses import dataclass, field
from html import escape

from lightning_contrast.cli.report.items import Items
from lightning_contrast.cli.report.pictures import Sheet, sheet


@dataclass
class Shelf:
    """The sheets of pictures of a page; runs that show the same items share one."""

    sheets: list[Sheet] = field(default_factory=list)

    def place(self, items: Items) -> int:
        """The sheet of these items; -1 if they have no pictures."""
        if items.pictures is None or not len(items.pictures):
            return -1
        made = sheet(items.pictures)
        if made not in self.sheets:
            self.sheets.append(made)
        return self.sheets.index(made)

    def css(self) -> str:
        """One rule a sheet."""
        rules = []
        for number, one in enumerate(self.sheets):
            zoom = max(1, round(56 / max(one.width, one.height)))
            rules.append(
                f".sheet{number}{{--w:{one.width * zoom}px;--h:{one.height * zoom}px;background-image:url({one.uri});"
                f"background-size:calc(var(--w)*{one.columns}) calc(var(--h)*{one.rows})}}"
            )
        return "\n".join(rules)


def class_name(items: Items, row: int) -> str:
    """Its class in words; nothing where it is not known."""
    if items.label is None or int(items.label[row]) < 0:
        return ""
    label = int(items.label[row])
    return items.names[label] if items.names is not None and label < len(items.names) else str(label)


def title(items: Items, row: int) -> str:
    """One line that names an item."""
    name = class_name(items, row) if items.pairs is None else ""
    return f"item {int(items.index[row])}" + (f", {name}" if name else "")


def card(
    items: Items, row: int, sheet_number: int, shelf: Shelf, note: str = "", mark: str = "", partner: bool = False
) -> str:
    """An item as HTML.

    Args:
        items: whose row is shown.
        row: of the items.
        sheet_number: of its pictures, or -1.
        shelf: that holds the sheet.
        note: below it, plain text.
        mark: ``right``, ``wrong`` or nothing.
        partner: show the words of its partner.
    """
    if sheet_number >= 0:
        columns = shelf.sheets[sheet_number].columns
        place = f"--c:{row % columns};--r:{row // columns}"
        shown = f'<span class="thumb sheet{sheet_number}" style="{place}" role="img" aria-label="{escape(title(items, row))}"></span>'
    elif items.texts is not None:
        words = items.partners if partner and items.partners is not None else items.texts
        shown = f'<span class="words">{escape(words[row])}</span>'
    else:
        shown = f'<span class="words">item {int(items.index[row])}</span>'
    name = escape(class_name(items, row)) if items.pairs is None or not items.texts else ""
    sign = {"right": "✓ ", "wrong": "✗ "}.get(mark, "")
    told = "".join(f"<span>{text}</span>" for text in (f"{sign}{name}" if name or sign else "", escape(note)) if text)
    return f'<div class="card {mark}">{shown}<div class="told">{told}</div></div>'
