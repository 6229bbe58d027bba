"""The entry point: picks the command, imports no more than it needs, and turns errors into messages."""

import importlib
import os
import sys

from lightning_contrast.cli.errors import UserError, nearest, report
from lightning_contrast.cli.first_help import asked
from lightning_contrast.cli.recipes import methods

TRAINER = ("fit", "validate", "test", "predict")
COMMANDS = {
    "demo": "pre-train a small encoder on real images, evaluate it, draw it: about three minutes",
    "fit": "train, from a recipe or a YAML file",
    "doctor": "look at the first steps of what `fit` would train, and say what is wrong with it: seconds before hours",
    "validate": "validation loss of a checkpoint",
    "test": "the same on the test split",
    "predict": "write embeddings with their index (.npz)",
    "embed": "embeddings of a checkpoint as a file, with ids, labels and texts (.npz, .parquet)",
    "search": "documents (or items) nearest to a query, by a checkpoint",
    "compare": "runs or embeddings on the same items: differences with intervals",
    "export": "the encoder to .safetensors or .onnx, checked by loading it back",
    "evaluate": "kNN, linear probe or search, of a checkpoint, a foreign encoder or embeddings, beside chance",
    "report": "one HTML file about a run, or several side by side: curves, maps, neighbours, errors, settings",
    "mine": "hard negatives of every training sample by a checkpoint (.npz, .parquet), and what each rule removed",
    "evidence": "compare methods at an equal budget: table and chart",
    "methods": "list the shipped methods",
    "completion": "print a script by which bash or zsh completes commands, recipes, options and classes",
}
HELP = """usage: lightning-contrast COMMAND [options]

Contrastive training of any encoder with PyTorch Lightning.

{commands}

Start here:
  lightning-contrast demo
  lightning-contrast fit --config simclr                        a shipped recipe, by name
  lightning-contrast doctor --config simclr                     is anything wrong with it?
  lightning-contrast fit --config simclr --print_config         all of its settings, as YAML
  lightning-contrast fit --config simclr --model.encoder SmallResNet --trainer.max_epochs 5
  lightning-contrast evaluate --ckpt_path last                  the newest run
  lightning-contrast report runs                                the same run, to look at

`lightning-contrast COMMAND --help` explains the options of a command,
`lightning-contrast fit --model.encoder.help SmallCNN` those of a class.
"""


def main(args: list[str] | None = None) -> int:
    """Run a command.

    Args:
        args: what follows ``lightning-contrast``; ``None`` is ``sys.argv[1:]``.

    Returns:
        0, or 1 for an error, 2 for a wrong command line, 143 after SIGTERM or one Ctrl-C (stopped between two steps,
        and saved), 130 after Ctrl-C elsewhere.
    """
    args = sys.argv[1:] if args is None else list(args)
    if "" not in sys.path and os.getcwd() not in sys.path:  # a console script has its own folder there instead
        sys.path.insert(0, os.getcwd())  # classes of the user's project go by their import path
    if not args or args[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
        print(HELP.format(commands=f"commands:\n{lines}"))
        return 0 if args else 2
    if args[0] == "--version":
        from lightning_contrast import __version__

        print(f"lightning-contrast {__version__}")
        return 0
    try:
        return _run(args[0], args[1:])
    except SystemExit as stop:
        return _exit_code(stop)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        return report(error)


def _run(command: str, args: list[str]) -> int:
    if command in TRAINER:
        if (told := asked(command, args)) is not None:
            print(told)
            return 0
        from lightning_contrast.cli import trainer

        trainer.run([command, *args])
        return 0
    if command not in COMMANDS:
        if any(method.slug == command for method in methods()):
            raise UserError(f"{command} is a recipe, not a command: lightning-contrast fit --config {command}")
        raise UserError(
            f"there is no command {command!r}{nearest(command, list(COMMANDS))}. Commands: {', '.join(COMMANDS)}."
        )
    return importlib.import_module(f"lightning_contrast.cli.{command}").main(args)


def _exit_code(stop: SystemExit) -> int:
    if type(stop).__name__ == "SIGTERMException":  # Lightning's; importing it takes seconds
        return 143
    if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning leaves a fit by exit(1)
        return 130
    if isinstance(stop.code, str):
        print(stop.code, file=sys.stderr)
        return 1
    return stop.code or 0
