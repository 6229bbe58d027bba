"""jsonargparse's nested messages, boiled down to one: which key, what is wrong, what is near."""

import inspect
import re

from lightning_contrast.cli.classes import known_classes
from lightning_contrast.cli.command_parser import OF_FIT
from lightning_contrast.cli.errors import nearest


def explain(message: str) -> str:
    """A message of ``jsonargparse.ArgumentError`` for people."""
    where = ".".join(re.findall(r'Parser key "([\w.]+)"', message))
    if found := re.search(r"class_path '([\w.]+)':\s+unrecognized arguments: --([\w.]+)", message):
        return _no_argument(where, found[1], found[2])
    if found := re.search(r"unrecognized arguments: (.*)", message):
        word = found[1].split()[0]
        if not word.startswith("-"):
            return f"{word!r} belongs to no option: a recipe or a file is named by --config, as in --config {word}."
        option = word.lstrip("-").partition("=")[0]
        return f"there is no option --{option}{_nearest_setting(option)}. --help lists all."
    if found := re.search(r"(?:Option|accept option) '([\w.]+)'", message):
        return _unknown_option(where, found[1], message)
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        name = found[1]
        # A value that is neither a number nor a class also ends here; what was expected says which it is.
        expected = re.findall(r"Expected a <class '(float|int|bool)'>", message)
        if expected and not name[:1].isupper():
            return f"{where}: {name!r} is no {expected[0]}."
        return (
            f"{where}: there is no class {name!r}{nearest(name, list(known_classes()))}. Classes of this library go by "
            "their short name, your own by import path, such as my_package.MyClass."
        )
    if found := re.search(r"Problem with given class_path '([\w.]+)':\s+No module named '([\w.]+)'", message):
        return (
            f"{where}: {found[1]} cannot be imported, since there is no module {found[2]!r}: install its package, or "
            "begin in the folder that has it."
        )
    if found := re.search(
        r"Problem with given class_path '([\w.]+)':\s+the following arguments are required: (.*)", message
    ):
        name = found[1].split(".")[-1]
        options = " ".join(f"--{where}.{one}=..." for one in found[2].split(", "))
        return f"{where}: {name} requires {found[2]}: add {options}"
    if found := re.search(r"Import path (\S+) does not correspond to a subclass of (\w+)", message):
        hint = " In YAML bring other modules by ModuleEncoder (factory: import path)." if found[2] == "Encoder" else ""
        return f"{where}: {found[1]} is no {found[2]}.{hint}"
    if found := re.search(r"(?:arguments are required: |Key ['\"])([\w., ]+)", message):
        names = ", ".join(part.split(".", 1)[-1] for part in found[1].split(", "))
        return f"{names}: required. Give --config with a recipe (`lightning-contrast methods` lists them) or a file."
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    told = [
        line for line in lines if not line.startswith(("Given value", "Subtypes:", "Errors:", "Parser key", "Does not"))
    ]
    told = [line for line in told if "NoneType" not in line and "not accessible or invalid" not in line]
    text = "; ".join(dict.fromkeys(told)) or message
    given = re.findall(r"Given value: (?:NestedArg\(key='[\w.]+', val=)?(.*?)\)?$", message, flags=re.MULTILINE)
    return f"{where + ': ' if where else ''}{text}" + (f", got {given[0]}" if given else "")


def _nearest_setting(option: str) -> str:
    first, _, rest = option.partition(".")
    if first != "trainer" or not rest:
        return nearest(first, list(OF_FIT))
    from lightning.pytorch import Trainer

    return nearest(option, [f"trainer.{name}" for name in inspect.signature(Trainer).parameters])


def _unknown_option(where: str, option: str, message: str) -> str:
    # The class that refused it, told right before; the others in the message hold that one or are its bases.
    refused = r"class_path '([\w.]+)':\s+Option '|Option '[\w.]+' is not accepted. Got value: Namespace\(class_path='([\w.]+)'"
    paths = [a or b for a, b in re.findall(refused, message)]
    if not paths:
        return f"there is no setting {option!r}{_nearest_setting(option)}. --help lists all."
    return _no_argument(where, paths[0], option)


def _no_argument(where: str, path: str, option: str) -> str:
    name = path.split(".")[-1]
    cls = known_classes().get(name)
    known = list(inspect.signature(cls).parameters) if cls is not None else []
    hint = nearest(option.split(".")[0], known) or (f"; it has {', '.join(known)}" if known else "")
    return f"{where or 'config'}: {name} has no argument {option!r}{hint}."
