"""`birds labels SWEEP`: how many labels reach a given accuracy, how many labels a method saves,
and which images to label next.
"""

import argparse
from pathlib import Path
from typing import Any

from birds.core.spec import UserError
from birds.core.sweep import NEWEST


def add_command(commands: Any) -> None:
    """Add `labels` to what `add_subparsers()` returned."""
    words = "accuracy against labels per class: how many are needed, which to label next"
    labels = commands.add_parser("labels", help=words, description=__doc__)
    option = labels.add_argument
    option(
        "sweep", nargs="?", default=NEWEST, help="its name, such as labels (default: the newest)"
    )
    option("--reach", type=float, metavar="PERCENT", help="the accuracy to reach, such as 80")
    option("--next", type=int, metavar="N", help="choose N images to label; write sheet and table")
    option("--run", metavar="KEY", help="the run that chooses (default: the sweep's best)")
    option("--simulate", action="store_true", help="compare this choice with a random choice")
    option("--data-root", type=Path, help="folder of the images, if they moved since training")
    labels.set_defaults(act=_labels)


def _labels(args: argparse.Namespace) -> None:
    if args.next is not None and args.next < 1:
        raise UserError(f"--next {args.next}: choose 1 or more")
    from analysis.label_answers import answers
    from analysis.learning_curves import label_sweep

    out = args.runs_dir / "labels" / args.sweep
    try:
        print(answers(label_sweep(args.runs_dir, args.sweep), args.reach, out))
        print(f"\nWritten: {out}/labels.png, .svg, .md")
    except UserError as refusal:
        if args.next is None:  # choosing photos needs one model, and no curve
            raise
        print(f"No curve: {refusal}")
    if args.next is not None:
        _choose(args, out)
    if args.simulate:
        _simulate(args)


def _choose(args: argparse.Namespace, out: Path) -> None:
    from birds.cli.chosen_run import chosen_run, words_of
    from birds.use.label_next import chosen_images, write_sheet, write_table
    from birds.use.scored import scored_run

    folder = chosen_run(args.runs_dir, args.run or args.sweep)
    run = scored_run(folder, args.data_root)
    chosen = chosen_images(run, args.next)
    out.mkdir(parents=True, exist_ok=True)
    table = out / "next.csv"
    write_table(run, chosen, table)
    sheets = write_sheet(run, chosen, out / "next.png")
    print(
        f"\n{len(chosen)} of {len(run.unlabelled)} unlabelled images to label next, chosen by run"
    )
    print(f"{words_of(folder)}: the least confident first, spread over clusters of features.")
    pages = f"{sheets[0]} to {sheets[-1]}" if len(sheets) > 1 else f"{sheets[0]}"
    print(f"Written: {pages}")
    print(f"Written: {table}: fill in the empty labels of its first {len(chosen)} rows, then")
    print(f"  python train.py -m data=table data.root={run.root} data.table.file={table} ...")


def _simulate(args: argparse.Namespace) -> None:
    from analysis.frame import sweep_frame
    from analysis.label_simulation import simulation_words
    from birds.core.store import RunFolder
    from birds.use.label_next import simulated
    from birds.use.scored import scored_run

    frame, _ = sweep_frame(args.runs_dir, args.sweep)
    options = "choice.method.options."
    frozen = frame[(frame[f"{options}train"] == "head") & (frame[f"{options}start"] == "init")]
    if frozen.empty:
        raise UserError(
            f"--simulate needs a run of {args.sweep!r} with an untrained or pretrained frozen "
            "encoder, so that no hidden label has shaped its features; add variant=Logistic to "
            "the sweep"
        )
    key = frozen.sort_values("valid_accuracy")["key"].iloc[-1]
    run = scored_run(RunFolder(args.runs_dir, str(key)), args.data_root)
    print("\n" + simulation_words(simulated(run)))
