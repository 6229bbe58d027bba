"""``fit | validate | test | predict``: LightningCLI with recipes, run folders and checkpoints that are always there."""

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from lightning_contrast.callbacks.embedding_snapshots import EmbeddingSnapshots
from lightning_contrast.callbacks.embedding_writer import EmbeddingWriter
from lightning_contrast.callbacks.last_checkpoint import LastCheckpoint
from lightning_contrast.callbacks.score_histograms import ScoreHistograms
from lightning_contrast.cli import summary
from lightning_contrast.cli.arguments import Arguments, read_arguments
from lightning_contrast.cli.classes import import_public_classes
from lightning_contrast.cli.errors import UserError, own_error
from lightning_contrast.cli.explain import explain
from lightning_contrast.cli.layers import Layers
from lightning_contrast.cli.main import COMMANDS
from lightning_contrast.cli.progress import progress_bar
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.record import RunRecord
from lightning_contrast.cli.runs import checkpoint_at, new_run, newest_checkpoint, run_of
from lightning_contrast.cli.settings import Settings
from lightning_contrast.modules import ContrastiveModule

RECORDING = (ScoreHistograms, EmbeddingSnapshots)
"""What every fit has beside the user's callbacks, for ``report``."""


def run(args: list[str], tell_next: bool = True) -> "ContrastiveCLI":
    """Run one of the four commands; ``args`` begins with its name.

    ``tell_next``: whether a fit ends by saying what to do next.

    Raises:
        UserError: for a wrong command line.
    """
    quiet_lightning()
    return ContrastiveCLI(args=args, tell_next=tell_next)


class ContrastiveCLI(LightningCLI):
    """LightningCLI for :class:`ContrastiveModule`, or a subclass of it, on any DataModule.

    Args:
        args: arguments, beginning with the subcommand unless ``run`` is False.
        run: whether to run a subcommand; else only model, data and Trainer are made.
        tell_next: whether a fit ends by saying what to do next.
    """

    def __init__(self, args: list[str] | None = None, run: bool = True, tell_next: bool = True) -> None:
        import_public_classes()
        self.typed = Arguments()
        self.command = sys.argv[1:] if args is None else list(args)
        self.tell_next = tell_next
        self.run_dir: Path | None = None
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            ContrastiveModule,
            pl.LightningDataModule,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"default_root_dir": "runs"},
            seed_everything_default=0,
            parser_kwargs={**strict, **{name: {**strict, **_help(name)} for name in self.subcommands() if run}},
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=args,
            run=run,
        )

    # Parsing ------------------------------------------------------------------------------------------------------

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What ours has beyond Lightning's."""
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_argument(
            "--record",
            type=bool,
            default=True,
            help="Whether fit records score histograms and embedding snapshots for `lightning-contrast report`.",
        )
        parser.add_argument(
            "--name",
            type=str | None,
            help="Name of the folder that holds the runs, under --trainer.default_root_dir; by default the recipe's.",
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            parser.add_argument(
                "--output",
                type=str | None,
                help="Where to write the embeddings (.npz); by default embeddings.npz in the checkpoint's run folder.",
            )
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Recipes by name, and messages for people."""
        args = sys.argv[1:] if args is None else list(args)
        command = args.pop(0) if self._has_subcommand() else None
        self.typed = read_arguments(args)
        try:
            self.config = parser.parse_args(self.typed.argv(command))
        except ArgumentError as error:
            raise UserError(explain(str(error))) from error
        config = self.config if command is None else self.config[command]
        if config.get("name") is None:
            config["name"] = self.typed.name
        self._one_seed(config)

    def _has_subcommand(self) -> bool:
        return hasattr(self, "_subcommand_parsers")

    def _one_seed(self, config: Namespace) -> None:
        """``seed_everything`` also seeds what has a seed of its own, unless that was set."""
        seed = config.get("seed_everything")
        if isinstance(seed, bool) or seed is None:
            return
        for key in list(config.keys()):
            if (
                key.startswith("data.")
                and key.endswith(".seed")
                and not self.typed.given(key.replace(".init_args", ""))
            ):
                config[key] = seed

    def _parse_ckpt_path(self) -> None:
        """``last`` is the newest run's; what the checkpoint overrides is told."""
        if not self.config.get("subcommand"):
            return
        command = self.config.subcommand
        config = self.config[command]
        path = config.get("ckpt_path")
        if path == "last":
            root = config.trainer.default_root_dir
            path = config["ckpt_path"] = str(newest_checkpoint(root, config.get("name")))
        elif path is None and command != "fit":
            rank_zero_warn(
                f"{command} without --ckpt_path: the weights are those the configuration makes, not trained."
            )
        if path is None or path == "best":
            return
        if "://" not in path:
            path = config["ckpt_path"] = str(checkpoint_at(path))
        before = config.model.clone() if config.model is not None else Namespace()
        super()._parse_ckpt_path()
        self._tell_overridden(before, self.config[command].model, path)

    def _tell_overridden(self, before: Namespace, after: Namespace, path: str) -> None:
        missing = object()
        changed = {
            key.replace("init_args.", ""): (value, after.get(key))
            for key, value in before.items()
            if after.get(key, missing) != value and not key.endswith("__path__")
        }
        typed = {option.replace("init_args.", "") for option, _ in self.typed.options}
        asked = [k for k in changed if any(o == f"model.{k}" or f"model.{k}.".startswith(f"{o}.") for o in typed)]
        lines = [
            f"  model.{key}: {changed[key][1]} from the checkpoint, not {changed[key][0]}" for key in asked or changed
        ]
        if asked:
            raise UserError(
                f"--ckpt_path {path}: a checkpoint brings its own settings, so these cannot be changed:\n"
                + "\n".join(lines)
                + "\nLeave them out, or start a new run from its weights: --model.init_from instead of --ckpt_path."
            )
        if lines:
            rank_zero_warn(f"{path} brings its own settings:\n" + "\n".join(lines))

    # Making -------------------------------------------------------------------------------------------------------

    def _add_instantiators(self) -> None:
        """With the configuration in place of this object: factories of optimizers keep an instantiator, and through the
        command line they would hold the Trainer, so that no module could be copied or sent to another process."""
        super()._add_instantiators()
        self._dump_config()
        for instantiator in (getattr(self.parser, "_instantiators", None) or {}).values():
            if getattr(instantiator, "cli", None) is self:
                instantiator.cli = Settings(self.config_dump)

    def instantiate_classes(self) -> None:
        """A constructor's own message, not the parser's report of having tried every type."""
        try:
            super().instantiate_classes()
        except (TypeError, ValueError) as error:
            raise own_error(error) from None

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Puts the run folder, its logger and the callbacks that are always there in place."""
        config = self._get(self.config_init, "trainer")
        quick = bool(config.get("fast_dev_run"))
        fit = self.subcommand == "fit" and not quick
        callbacks = config.get("callbacks") or []
        callbacks = list(callbacks) if isinstance(callbacks, list) else [callbacks]
        if fit:
            kwargs |= self._in_run_folder(config)
        else:
            self.save_config_callback = None
            kwargs["logger"] = config.get("logger") or False
        if config.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(progress_bar())
        if config.get("enable_model_summary") is not False and not any(isinstance(c, ModelSummary) for c in callbacks):
            callbacks.append(Layers())
        kwargs["enable_model_summary"] = False  # else Lightning says that it adds none of its own
        if fit:
            callbacks += self._recording(callbacks)
        if self.subcommand == "predict":
            callbacks.append(EmbeddingWriter(str(self._output())))
        kept = (
            []
            if self.subcommand != "fit" or config.get("enable_checkpointing") is False or quick
            else [self._get(self.config_init, "last_checkpoint")]
        )
        try:
            return self._instantiate_trainer({**config, **kwargs, "callbacks": callbacks}, kept)
        except BaseException:
            self._drop_empty_run()
            raise

    def _in_run_folder(self, config: Namespace) -> dict[str, Any]:
        """A new folder for every fit; only the first process makes it."""
        root = Path(config["default_root_dir"] or "runs")
        name = self._get(self.config, "name") or "fit"
        self.run_dir = new_run(root, name) if getattr(rank_zero_only, "rank", 0) == 0 else root / name / "elsewhere"
        given = config.get("logger")
        own = CSVLogger(str(self.run_dir.parent), name="", version=self.run_dir.name)
        if given is False:
            loggers: Any = False
        elif isinstance(given, Logger):
            loggers = [own, given]
        else:
            loggers = [own, *(given if isinstance(given, (list, tuple)) else [])]
        return {"default_root_dir": str(self.run_dir), "logger": loggers}

    def _recording(self, callbacks: list[Any]) -> list[pl.Callback]:
        """What ``report`` reads, unless the user has it already or wants none."""
        kept: list[pl.Callback] = [RunRecord(str(self.run_dir), self.command)]
        if not self._get(self.config, "record"):
            return kept
        return kept + [k() for k in RECORDING if not any(isinstance(c, k) for c in callbacks)]

    def _output(self) -> Path:
        given = self._get(self.config, "output")
        if given:
            return Path(given)
        checkpoint = self._get(self.config, "ckpt_path")
        folder = run_of(checkpoint) if checkpoint else None
        return (folder or Path(self._get(self.config, "trainer").default_root_dir)) / "embeddings.npz"

    # Running ------------------------------------------------------------------------------------------------------

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # they are written, not held
        return kwargs

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with warnings.catch_warnings():
                if subcommand != "fit":  # what records a training has nothing to do, and so is not missed
                    own = "|".join(k.__name__ for k in RECORDING)
                    warnings.filterwarnings("ignore", f".*add the following callbacks: .('({own})'(, )?)+.\\.$")
                super()._run_subcommand(subcommand)
        except BaseException as error:
            self._drop_empty_run()
            if isinstance(error, (SystemExit, KeyboardInterrupt)) and self.run_dir and self.trainer.is_global_zero:
                summary.tell_how_to_go_on(self.run_dir)
            raise

    def _drop_empty_run(self) -> None:
        """A fit that failed before it left anything leaves no folder."""
        if self.run_dir is not None and self.run_dir.is_dir() and not any(self.run_dir.iterdir()):
            self.run_dir.rmdir()

    def after_fit(self) -> None:
        """Where everything is, and what to do next."""
        if self.trainer.is_global_zero and self.run_dir is not None:
            summary.after_fit(self.trainer, self.run_dir, self.tell_next)


def _help(command: str) -> dict[str, str]:
    """One line instead of forty options in a row."""
    return {
        "usage": f"lightning-contrast {command} --config RECIPE_OR_FILE [--key value ...]",
        "description": f"{COMMANDS[command][:1].upper()}{COMMANDS[command][1:]}. RECIPE_OR_FILE is the name of a shipped "
        "recipe (`lightning-contrast methods`) or a YAML file; options change single values. Classes go by their short "
        "name, and `--model.encoder.help SmallCNN` explains one.",
    }
