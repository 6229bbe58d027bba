"""``fit --help``: the options that most people need. All of them, several hundred lines, are behind ``--help all``."""

import contextlib
import io
import re
import textwrap

from lightning_contrast.cli.errors import UserError

START = {
    "fit": "Train. RECIPE_OR_FILE is the name of a shipped recipe, or a YAML file; every further option "
    "changes one value of it.",
    "validate": "The validation loss, and what callbacks measure, of a checkpoint.",
    "test": "The loss on the test split, and what callbacks measure, of a checkpoint. For accuracy and search: "
    "`lightning-contrast evaluate`.",
    "predict": "Write the embeddings of the data's predict split with their index (.npz). With ids, labels and texts: "
    "`lightning-contrast embed`.",
}
EXAMPLES = {
    "fit": """\
  lightning-contrast fit --config simclr
  lightning-contrast fit --config simclr --trainer.max_epochs 5 --data.batch_size 512
  lightning-contrast fit --config simclr --data ImageFolderDataModule --data.root my_pictures
  lightning-contrast fit --config simcse --data TextDataModule --data.train my_texts.jsonl
  lightning-contrast fit --config runs/simclr/20250101-120000/config.yaml --ckpt_path last""",
    "validate": "  lightning-contrast validate --config simclr --ckpt_path last",
    "test": "  lightning-contrast test --config simclr --ckpt_path last",
    "predict": "  lightning-contrast predict --config simclr --ckpt_path last --output embeddings.npz",
}
OPTIONS = """\
what to train:
  --config RECIPE_OR_FILE       may be repeated: the later one changes the earlier
  --model.encoder CLASS         the network: SmallCNN, SmallResNet, TextEncoder, ..., or my_package.MyNet
  --model.head CLASS            what follows it in training: MLPHead, LinearHead, ...
  --model.objective CLASS       InfoNCE, SupCon, SigLIP, ...; --model.objective.temperature 0.1
  --model.optimizer CLASS       --model.optimizer.lr 0.001
  --trainer.callbacks+=CLASS    one more: MemoryQueue, FalseNegativeFilter, GeometryMonitor, ...

on which data:
  --data CLASS                  ImageFolderDataModule, TextDataModule, ..., or my_package.MyData
  --data.batch_size N           samples a process and step; more of them are more negatives
  --data.num_workers N          processes that read

how long, and on what:
  --trainer.max_epochs N        or --trainer.max_steps N, --trainer.max_time 00:01:30:00
  --trainer.devices N           how many; --trainer.accelerator cpu|gpu says which
  --trainer.precision bf16-mixed
  --model.chunk_size N          encode so many samples at a time: large batches in little memory
  --seed_everything N           of weights, order and views (0)

what is left behind:
  --name NAME                   runs/NAME/DATE is the run's folder; the recipe's name by default
  --trainer.default_root_dir FOLDER     in place of runs
  --trainer.logger CLASS        one more logger: TensorBoardLogger, WandbLogger, ...
  --record false                no histograms and snapshots for `lightning-contrast report`
  --ckpt_path CHECKPOINT        go on from a checkpoint or run folder; `last` is the newest run's
"""
HELD = """\
  --config RECIPE_OR_FILE       of the run: a recipe, or the config.yaml in the run's folder
  --ckpt_path CHECKPOINT        a checkpoint or run folder; `last` is the newest run's
  --data CLASS                  other data than the run's; --data.root FOLDER where they lie now
  --data.batch_size N           samples a process and step
  --trainer.devices N           how many; --trainer.accelerator cpu|gpu says which
  --trainer.precision bf16-mixed
"""
OUTPUT = "  --output FILE                 where the embeddings go (.npz); by default into the run's folder\n"
PAGE = """usage: lightning-contrast {command} --config RECIPE_OR_FILE [--key value ...]

{start}

{options}
examples:
{examples}

to see more:
  all recipes                      lightning-contrast methods
  every setting of one, as YAML    lightning-contrast {command} --config simclr --print_config
  the arguments of a class         lightning-contrast {command} --model.encoder.help SmallCNN
  every option, Lightning's too    lightning-contrast {command} --help all
"""


def first_help(command: str) -> str:
    """The page for a newcomer."""
    options = OPTIONS if command == "fit" else HELD + (OUTPUT if command == "predict" else "")
    return PAGE.format(
        command=command, start=textwrap.fill(START[command], 100), options=options, examples=EXAMPLES[command]
    )


def whole_help(command: str) -> str:
    """Every option, without the import paths of all classes and with types as people write them."""
    from lightning_contrast.cli import trainer

    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        trainer.run([command, "--help"])
    return readable(told.getvalue())


def readable(text: str) -> str:
    """What jsonargparse says, for people.

    Example:
        >>> readable("(type: Union[list[int], Optional[str], Literal['a', 'b']], default: 1, known subclasses: a.B, c.D)")
        "(type: list[int] | str | null | 'a' | 'b', default: 1)"
    """
    text = re.sub(r",\s*known\s+subclasses:[^)]*\)", ")", text)
    text = re.sub(r":\w+:\s*`~?([^`]*)`", lambda role: f"`{''.join(role[1].split()).rpartition('.')[2]}`", text)
    text = text.replace("A DataModule standardizes the training, val, test splits, data preparation and transforms. The main "
                        "advantage is:", "Data:")  # fmt: skip
    for name in ("Union", "Optional", "Literal"):
        while (at := text.find(f"{name}[")) >= 0:
            start = at + len(name) + 1
            inner, end = _inside(text, start)
            parts = [part.strip() for part in inner] + (["null"] if name == "Optional" else [])
            text = text[:at] + " | ".join(dict.fromkeys(parts)) + text[end:]
    return text


def _inside(text: str, start: int) -> tuple[list[str], int]:
    """Arguments of the bracket that opened before ``start``, and where it has closed."""
    depth, parts, at = 1, [""], start
    while depth:
        letter = text[at]
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 1:
            parts.append("")
        elif depth:
            parts[-1] += letter
        at += 1
    return parts, at


def asked(command: str, args: list[str]) -> str | None:
    """The help that ``args`` ask for; ``None`` where they ask for none, or for that of a class.

    Raises:
        UserError: for another word behind ``--help``.
    """
    if args[:1] not in (["-h"], ["--help"]) or len(args) > 2:
        return None
    if len(args) == 1:
        return first_help(command)
    if args[1] == "all":
        return whole_help(command)
    raise UserError(f"--help {args[1]}: nothing, or `all`, is expected.")
