"""``lightning-contrast doctor``: what is wrong with a configuration, before it is trained for hours."""

import json
import time
from typing import Any

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError

STEPS = 6


def main(args: list[str]) -> int:
    """Take a few steps, say what is wrong.

    Returns:
        0, or 1 where there is something of the severity of ``--fail-on``, or worse.
    """
    parser = CommandParser(
        "doctor",
        examples=(
            "doctor --config simclr",
            "doctor --config my.yaml --data.batch_size 512 --fail-on warning",
        ),
        usage="lightning-contrast doctor --config RECIPE_OR_FILE [--json] [--fail-on error] [--key value ...]",
        description="Train a few steps of a configuration on its own data, on one device, and say what is wrong with it: "
        "views, leaks, duplicates, negatives, temperature, gradients, BatchNorm, memories, speed, memory. Nothing is "
        "written. Every finding has its evidence, why it matters, and the setting to change.",
        epilog="Anything else is taken as by `fit`: --config, --model..., --data..., --trainer...",
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=STEPS,
        help=f"training steps to watch (default: {STEPS}; fewer where they are slow)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="error",
        help="exit with 1 where there is such a finding, or a worse one (default: error)",
    )
    options, others = parser.parse_known_args(args)
    if options.steps < 2:
        raise UserError(f"--steps {options.steps}: at least 2 are needed, since the first one warms up.")
    began = time.perf_counter()
    from lightning_contrast.cli.doctor.checks import check_names, findings_of
    from lightning_contrast.cli.doctor.report import as_json, tell

    seen = examine(others, options.steps)
    findings = findings_of(seen)
    seconds = time.perf_counter() - began
    if options.json:
        print(json.dumps(as_json(seen, findings, check_names(), seconds), indent=2, ensure_ascii=False))
    else:
        tell(seen, findings, seconds)
    bad = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[options.fail_on]
    return int(any(finding.severity in bad for finding in findings))


def examine(args: list[str], steps: int = STEPS) -> Any:
    """The :class:`~lightning_contrast.cli.doctor.observation.Observation` of the arguments of ``fit``.

    Raises:
        UserError: for a wrong command line, as ``fit`` raises it.
    """
    from lightning_contrast.cli.doctor.patient import Patient
    from lightning_contrast.cli.quiet import quiet_lightning

    quiet_lightning()
    seen = Patient(args, steps).seen
    assert seen is not None
    return seen
