"""`birds`: train models, check data, follow sweeps, read results, use a trained model."""

# The command line is the one place in `birds` that imports `analysis`; each command is a module.

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from analysis.dashboard.command import add_commands as add_dashboard
from analysis.report import add_command as add_report
from birds import __version__
from birds.cli import (
    data,
    embed,
    export,
    figures,
    labels,
    latency,
    latent,
    predict,
    quantize,
    quick,
    samples,
    seeds,
    study,
    table,
    train,
    wandb,
)
from birds.core.errors import exit_status, nearest
from birds.core.process import prepare_process
from birds.core.sweep import NEWEST, newest_sweep
from birds.launch.look_after import add_commands as add_look_after

AS_WRITTEN = argparse.RawDescriptionHelpFormatter
EXAMPLES = """examples:
  birds quick photos                             try a simple method on a folder of classes
  birds table exp1                               print the result table of a sweep
  birds predict exp1 photos --csv answers.csv    classify photos with the best run of a sweep
"""


class Parser(argparse.ArgumentParser):
    """argparse's parser; for an unknown command it suggests the closest one."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        wrong = re.search(r"argument (?:COMMAND|WHAT): invalid choice: '(.*?)' \((.*)\)", message)
        if wrong:
            commands = re.findall(r"[\w-]+", wrong[2].partition("choose from")[2])
            close = nearest(wrong[1], commands)
            self.exit(2, f"birds: unknown command {wrong[1]!r}{close} See {self.prog} --help\n")
        super().error(message)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, with every command."""
    top = Parser(prog="birds", description=__doc__, epilog=EXAMPLES, formatter_class=AS_WRITTEN)
    top.add_argument("--version", action="version", version=f"birds {__version__}")
    top.add_argument(
        "--runs-dir", type=Path, default=Path("runs"), help="folder of the runs (default: runs)"
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser(
        "train", help="train a run or a sweep, as python train.py does", add_help=False
    )
    for add in (
        quick.add_command,
        table.add_command,
        figures.add_command,
        study.add_command,
        predict.add_command,
        export.add_command,
        embed.add_command,
        labels.add_command,
        quantize.add_command,
        latency.add_command,
        add_report,
        add_dashboard,
        latent.add_command,
        samples.add_command,
        add_look_after,
        wandb.add_command,
        seeds.add_command,
        data.add_command,
    ):
        add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `birds` command. Exits with 0, or with a message and another status."""
    prepare_process()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"]:  # its words are Hydra's, not argparse's
        sys.exit(exit_status(lambda: train.train(words[1:])))
    args = parser().parse_args(_runs_dir_first(words))
    if getattr(args, "sweep", None) == NEWEST:
        args.sweep = newest_sweep(args.runs_dir)
    sys.exit(exit_status(lambda: args.act(args), _elsewhere(args)))


def _runs_dir_first(words: Sequence[str]) -> list[str]:
    """The words with `--runs-dir FOLDER` at the front, wherever it was written."""
    moved: list[str] = []
    rest: list[str] = []
    is_value = False
    for word in words:
        is_ours = is_value or word == "--runs-dir" or word.startswith("--runs-dir=")
        (moved if is_ours else rest).append(word)
        is_value = word == "--runs-dir"
    return [*moved, *rest]


def _elsewhere(args: argparse.Namespace) -> str:
    """The options with which this command can write to another place, as a sentence part."""
    options = {"out": "--out", "picture": "--picture"}
    places = [option for name, option in options.items() if getattr(args, name, None)]
    return f"choose another with {' or '.join([*places, '--runs-dir'])}"
