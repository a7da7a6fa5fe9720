"""`birds`: look at data, look after sweeps, read results, use a model. Training is `python
train.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.dashboard.command import add_commands as add_dashboard
from analysis.report import add_command as add_report
from birds.cli.seeds import add_command as add_seeds
from birds.core.errors import exit_status, refuse_odd_file
from birds.core.process import prepare_process
from birds.core.spec import UserError
from birds.core.store import find_run
from birds.launch.look_after import add_commands as add_look_after
from birds.use.latency.command import add_command as add_latency
from birds.use.latent.command import add_command as add_latent
from birds.use.quantize.command import add_command as add_quantize
from birds.use.wandb_sync.command import add_command as add_wandb

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # what pictures are written as


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="birds", description=__doc__)
    top.add_argument(
        "--runs-dir", type=Path, default=Path("runs"), help="where runs lie (default: runs)"
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    table = commands.add_parser(
        "table", help="print a sweep's result table, write it as Markdown, CSV and LaTeX"
    )
    table.add_argument(
        "sweep", nargs="?", default="last", help="such as exp1, search, or latency (default: last)"
    )
    table.set_defaults(act=_table)

    figures = commands.add_parser(
        "figures", help="draw all that a sweep's records allow, as PNG, PDF and SVG"
    )
    figures.add_argument(
        "sweep", nargs="?", default="last", help="its name, such as exp1 (default: last)"
    )
    figures.add_argument(
        "--out", type=Path, help="the folder for them (default: RUNS_DIR/figures/SWEEP)"
    )
    figures.set_defaults(act=_figures)

    predict = commands.add_parser(
        "predict", help="species of photos, with probabilities, by a run or a model file"
    )
    predict.add_argument(
        "--model", type=Path, help="a file of `birds quantize`, in place of RUN; needs no torch"
    )
    predict.add_argument(
        "names", nargs="+", metavar="[RUN] PHOTO", help="key or folder of a run, then photos"
    )
    predict.add_argument(
        "--picture", type=Path, help="write the photos with their species into this PNG"
    )
    predict.set_defaults(act=_predict)

    for add in (
        add_quantize,
        add_latency,
        add_report,
        add_dashboard,
        add_latent,
        add_look_after,
        add_wandb,
        add_seeds,
    ):
        add(commands)
    _add_data(commands)
    return top


def _add_data(commands: Any) -> None:
    what = commands.add_parser("data", help="obtain, check and preview photos")
    data = what.add_subparsers(required=True, metavar="WHAT")
    obtain = data.add_parser("obtain", help="how to obtain BIRDS 525 SPECIES")
    obtain.set_defaults(act=_obtain)
    check = data.add_parser("check", help="count; list unreadable files, exact and near duplicates")
    check.add_argument("root", type=Path)
    check.set_defaults(act=_check)
    preview = data.add_parser("preview", help="write a contact sheet")
    preview.add_argument(
        "root", type=Path, nargs="?", help="a folder of classes (default: the embedded birds)"
    )
    preview.add_argument("--out", type=Path, default=Path("preview.png"))
    preview.set_defaults(act=_preview)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `birds` command: exits with 0, or 2 and a sentence."""
    prepare_process()
    args = parser().parse_args(arguments)
    sys.exit(exit_status(lambda: args.act(args), _elsewhere(args)))


def _elsewhere(args: argparse.Namespace) -> str:
    """How this command lets one choose another place, in the options that it has."""
    options = {"out": "--out", "picture": "--picture"}
    places = [option for name, option in options.items() if getattr(args, name, None)]
    return f"choose another with {' or '.join([*places, '--runs-dir (before the command)'])}"


def _table(args: argparse.Namespace) -> None:
    if args.sweep == "latency":
        from analysis.latency import print_latency_table

        return print_latency_table(args.runs_dir)
    from birds.launch.search import print_trials, study_file

    if study_file(args.runs_dir, args.sweep).exists():
        return print_trials(args.runs_dir, args.sweep)
    from analysis.comparisons import print_comparisons
    from analysis.tables import sweep_table, write_and_print

    table, missing = sweep_table(args.runs_dir, args.sweep)
    write_and_print(args.runs_dir, args.sweep, table, missing)
    print_comparisons(args.runs_dir, args.sweep)


def _figures(args: argparse.Namespace) -> None:
    from analysis.figures import write_figures

    write_figures(args.runs_dir, args.sweep, args.out)


def _predict(args: argparse.Namespace) -> None:
    from birds.use.predict import annotated, predict

    if args.picture:
        refuse_odd_file(args.picture, PICTURES)
    if args.model:
        from birds.use.quantize.predict import predict_with_model

        predictions = predict_with_model(args.model, [Path(name) for name in args.names])
    elif len(args.names) < 2:
        raise UserError(
            f"no photos: birds predict {args.names[0]} PHOTO ..., or birds predict --model FILE PHOTO ..."
        )
    else:
        run, *photos = args.names
        predictions = predict(find_run(args.runs_dir, run), [Path(name) for name in photos])
    for prediction in predictions:
        print(prediction.path)
        print("\n".join(f"  {probability:6.1%}  {name}" for name, probability in prediction.ranked))
    if args.picture:
        annotated(predictions).save(args.picture)
        print(f"Written: {args.picture}")


def _obtain(args: argparse.Namespace) -> None:
    from birds.data import obtain

    print(obtain.__doc__)


def _check(args: argparse.Namespace) -> None:
    from birds.data.check import as_text, check_folder

    report = check_folder(args.root)
    print(as_text(report, args.root))
    if bad := len(report.unreadable):
        raise UserError(
            f"{bad} unreadable photos: repair them or train with data.skip_unreadable=true"
        )


def _preview(args: argparse.Namespace) -> None:
    from birds.data.prepare import ensure_rendered
    from birds.data.preview import contact_sheet

    root = args.root
    refuse_odd_file(args.out, PICTURES)
    if root is None:
        root = args.runs_dir / "synthetic"
        ensure_rendered({"name": "synthetic", "root": str(root), "seed": 0})
    contact_sheet(root).save(args.out)
    print(f"Written: {args.out}")
