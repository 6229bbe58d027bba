"""``lightning-contrast completion``: a script by which the shell completes commands, recipes, options and classes."""

import contextlib
import inspect
import io
import re

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.recipes import methods

# Which classes an option takes, by their base.
BASES = {
    "--model.encoder": "lightning_contrast.encoders.Encoder",
    "--model.key_encoder": "lightning_contrast.encoders.Encoder",
    "--model.head": "lightning_contrast.heads.Head",
    "--model.predictor": "lightning_contrast.heads.Head",
    "--model.objective": "lightning_contrast.objectives.Objective",
    "--trainer.callbacks": "lightning.pytorch.Callback",
    "--trainer.callbacks+": "lightning.pytorch.Callback",
    "--data": "lightning.pytorch.LightningDataModule",
}
# A plain zsh has not started its completion when it reads ~/.zshrc.
ZSH = """(( $+functions[compdef] )) || { autoload -U compinit && compinit; }
autoload -U +X bashcompinit && bashcompinit
"""
SCRIPT = """{head}_lightning_contrast() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}} $before" in
{choices}
{values}
            *) case "${{COMP_WORDS[1]}}" in
{options}
            esac ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _lightning_contrast lightning-contrast
"""


def main(args: list[str]) -> int:
    """Print the script."""
    parser = CommandParser(
        "completion",
        examples=(
            "completion bash > ~/.lightning-contrast.sh",
            "completion zsh > ~/.lightning-contrast.sh",
        ),
        description="Print a script that lets the shell complete commands, recipes, options and classes. Keep it with "
        "`lightning-contrast completion bash > ~/.lightning-contrast.sh`, and add `source ~/.lightning-contrast.sh` to "
        "~/.bashrc or ~/.zshrc. It is fast, since it holds all words itself; print it anew after an update.",
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    options = parser.parse_args(args)
    print(script(options.shell), end="")
    return 0


def script(shell: str) -> str:
    """The script for ``bash`` or ``zsh``."""
    from lightning_contrast.cli.main import COMMANDS, TRAINER
    from lightning_contrast.modules import ContrastiveModule

    recipes = [method.slug for method in methods() if method.recipe]
    values = {"--config": recipes, "-c": recipes, **{option: _classes(base) for option, base in BASES.items()}}
    helps = {name: _help(name) for name in COMMANDS if name not in TRAINER or name == "fit"}
    known = {name: _options(told) for name, told in helps.items()}
    choices = {(name, option): words for name, told in helps.items() for option, words in _choices(told)}
    known["fit"] += [f"--model.{name}" for name in inspect.signature(ContrastiveModule).parameters]
    for name in (*TRAINER, "doctor", "demo", "evaluate", "mine"):  # what they do not know they take as `fit` does
        known[name] = sorted({*known["fit"], *known.get(name, [])})
    return SCRIPT.format(
        head=ZSH if shell == "zsh" else "",
        commands=" ".join(COMMANDS),
        choices="\n".join(
            f'            "{name} {option}") words="{words}" ;;' for (name, option), words in choices.items()
        ),
        values="\n".join(f'            *" {option}") words="{" ".join(words)}" ;;' for option, words in values.items()),
        options="\n".join(f'                {name}) words="{" ".join(words)}" ;;' for name, words in known.items()),
    )


def _help(command: str) -> str:
    """What a command's help prints, all of it."""
    from lightning_contrast.cli.main import TRAINER
    from lightning_contrast.cli.main import main as run

    with contextlib.redirect_stdout(io.StringIO()) as told:
        run([command, "--help", *(["all"] if command in TRAINER else [])])
    return told.getvalue()


def _options(told: str) -> list[str]:
    """The options that a help names."""
    return sorted(set(re.findall(r"(?<![\w`.-])--[a-z][\w.-]*\w\+?", told)))


def _choices(told: str) -> list[tuple[str, str]]:
    """Options (a command's own name: its positional argument) with the values that a help allows, blank-separated."""
    named = re.findall(r"^  (--[\w.-]+) \{([\w,.-]+)\}", told, re.MULTILINE)
    placed = re.findall(r"^  \{([\w,.-]+)\}", told, re.MULTILINE)
    command = re.search(r"usage: lightning-contrast (\w+)", told)
    return [(option, words.replace(",", " ")) for option, words in named] + [
        (command[1], words.replace(",", " ")) for words in placed if command
    ]


def _classes(base: str) -> list[str]:
    from lightning_contrast.cli.classes import import_public_classes, known_classes

    import_public_classes()
    module, _, name = base.rpartition(".")
    cls = getattr(__import__(module, fromlist=[name]), name)
    return sorted(name for name, one in known_classes().items() if issubclass(one, cls) and one is not cls)
