"""`birds quantize`: the best models of a sweep as files, float and int8, with what that costs in
accuracy.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.markdown import markdown
from birds.core.store import RunFolder, find_run
from birds.use.quantize.models import BACKENDS, Model, warn_without_int8

HEAD = [
    "model", "backend", "MB", "accuracy %", "macro F1 %", "points against fp32", "agreement %", "flips", "McNemar p",
    "layers in float",
]  # fmt: skip


def add_command(commands: Any) -> None:
    """Add `quantize` to what argparse's `add_subparsers` returned."""
    words = "export a sweep's best models to ONNX, make int8 twins, measure what they lose"
    add = commands.add_parser("quantize", help=words)
    option = add.add_argument
    option(
        "sweep", nargs="?", default="last", help="its name, such as exp1 (default: the last one)"
    )
    option("--runs", nargs="+", metavar="KEY", help="these runs instead of the sweep's best")
    option("--best", type=int, default=3, help="how many distinct models (default: 3)")
    option(
        "--by",
        default="valid_accuracy",
        help="validation metric that ranks them (default: valid_accuracy)",
    )
    option("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"default: {BACKENDS[0]}")
    option(
        "--calibration",
        type=int,
        default=256,
        help="unlabelled photos that set the ranges (default: 256)",
    )
    option("--data-root", type=Path, help="where the photos lie, if not where they lay in training")
    option("--cache-dir", type=Path, help="where decoded photos lie (default: RUNS_DIR/cache)")
    add.set_defaults(act=quantize_sweep)


def quantize_sweep(args: argparse.Namespace) -> None:
    """Make the models and print their table. Raises UserError for what a person can cure, before any
    work is done.
    """
    folders = _chosen(args)
    from birds.use.quantize.make import Order, check_all, quantize_run

    order = Order(args.backend, args.calibration, args.data_root, args.cache_dir)
    check_all(folders, order)
    warn_without_int8()
    models = []
    for folder in folders:
        say = partial(print, f"{folder.key}:", file=sys.stderr, flush=True)
        models += quantize_run(folder, order, say)
    print(f"\n{models_table(models)}\n\n{notes(models)}")
    print(
        f"Written: {args.runs_dir}/<key>/models/ of {', '.join(folder.key for folder in folders)}"
    )


def _chosen(args: argparse.Namespace) -> list[RunFolder]:
    if args.runs:
        return list(
            {
                folder.key: folder for folder in (find_run(args.runs_dir, key) for key in args.runs)
            }.values()
        )
    from birds.use.quantize.rank import best_runs

    return best_runs(args.runs_dir, args.sweep, best=args.best, by=args.by)


def models_table(models: Sequence[Model]) -> str:
    """The models as a Markdown table, in the order given."""
    return markdown(HEAD, [_row(model) for model in models])


def _row(model: Model) -> list[str]:
    reached = [f"{100 * value:.1f}" for value in (model.test_accuracy, model.test_macro_f1)]
    shown = [model.title, model.backend, f"{model.bytes / 1e6:.2f}", *reached]
    twin, kept = model.measured.get("against_fp32"), model.measured.get("kept_in_float")
    if twin is None:
        return [*shown, "", "", "", "", ""]
    change, low, high = (100 * twin[f"accuracy_difference{end}"] for end in ("", "_low", "_high"))
    against = [
        f"{change:+.1f} [{low:+.1f}, {high:+.1f}]",
        f"{100 * twin['agreement']:.1f}",
        str(len(twin["flips"])),
    ]
    return [*shown, *against, f"{twin['mcnemar_p']:.2g}", "" if kept is None else str(len(kept))]


def notes(models: Sequence[Model]) -> str:
    """What to know beside the table: what the numbers are over, what stays in float, which variants
    do not exist.
    """
    ints = [model for model in models if model.precision == "int8"]
    floats = sorted(
        {operation for model in ints for operation in model.measured["float_operations"]}
    )
    lines = [
        f"Over the {ints[0].measured['against_fp32']['photos']} test photos. In brackets: 95 % interval of the "
        "difference, paired over photos; McNemar's exact test; flips are photos whose likeliest species changed "
        "(listed in the JSON).",
        f"Left in float inside int8: {', '.join(floats) or 'nothing'}.",
        *sorted({f"{model.measured['absent']}." for model in models}),
    ]
    seen = (
        "the test photos decided which layers stay in float, so its test accuracy is no unseen one."
    )
    return "\n".join(
        lines + [f"{m.title}: {seen}" for m in ints if "test" in m.measured["decided_on"]]
    )
