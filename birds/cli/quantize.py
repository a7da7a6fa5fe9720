"""`birds quantize`: write the best models of a sweep as float and int8 files, and measure how much
accuracy int8 loses.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.markdown import markdown
from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run
from birds.core.sweep import NEWEST
from birds.use.quantize.models import BACKENDS, Model, warn_without_int8

HEAD = [
    *("model", "backend", "MB", "accuracy %", "macro F1 %"),
    *("points against fp32", "agreement %", "flips", "McNemar p", "layers in float"),
]


def add_command(commands: Any) -> None:
    """Add `quantize` to what `add_subparsers()` returned."""
    words = "export a sweep's best models to ONNX and int8; measure the loss of accuracy"
    add = commands.add_parser("quantize", help=words)
    option = add.add_argument
    option("sweep", nargs="?", default=NEWEST, help="its name, such as exp1 (default: the newest)")
    option("--runs", nargs="+", metavar="KEY", help="use these runs instead of the sweep's best")
    option("--best", type=int, default=3, help="number of distinct models (default: 3)")
    option(
        "--by",
        default="valid_accuracy",
        help="validation metric for the ranking (default: valid_accuracy)",
    )
    option("--backend", choices=BACKENDS, default=BACKENDS[0], help=f"default: {BACKENDS[0]}")
    option(
        "--calibration",
        type=int,
        default=256,
        help="number of unlabelled images that set the int8 ranges (default: 256)",
    )
    option("--data-root", type=Path, help="folder of the images, if they moved since training")
    option("--cache-dir", type=Path, help="cache of decoded images (default: RUNS_DIR/cache)")
    add.set_defaults(act=quantize_sweep)


def quantize_sweep(args: argparse.Namespace) -> None:
    """Make the models and print their table.

    Raises UserError before any work for what the user can correct.
    """
    folders = _chosen(args)
    from birds.use.quantize.evidence import Order
    from birds.use.quantize.make import check_all, quantize_run

    order = Order(args.backend, args.calibration, args.data_root, args.cache_dir)
    check_all(folders, order)
    warn_without_int8()
    models = []
    for folder in folders:
        say = partial(print, f"{folder.key}:", file=sys.stderr, flush=True)
        models += quantize_run(folder, order, say)
    print(f"\n{models_table(models)}\n\n{notes(models)}")
    keys = ", ".join(folder.key for folder in folders)
    print(f"Written: {args.runs_dir}/<key>/models/ of {keys}")


def _chosen(args: argparse.Namespace) -> list[RunFolder]:
    """The runs given with `--runs`, each once, or the best runs of the sweep."""
    if not args.runs:
        return best_of_sweep(args.runs_dir, args.sweep, best=args.best, by=args.by)
    named = [find_run(args.runs_dir, key) for key in args.runs]
    return list({folder.key: folder for folder in named}.values())


def best_of_sweep(runs_dir: Path, sweep: str, *, best: int, by: str) -> list[RunFolder]:
    """The best distinct models of a sweep, best first.

    Prints which models were chosen, which cannot be exported, and when there are fewer than `best`.
    Raises UserError when the sweep has no finished run or none with a network, and when `best_runs`
    does.
    """
    from analysis.frame import sweep_frame
    from birds.use.networks import load_network
    from birds.use.quantize.rank import best_runs

    frame, missing = sweep_frame(runs_dir, sweep)
    if frame.empty:
        raise UserError(f"the sweep {sweep!r} has no finished run yet ({len(missing)} requested)")
    rows = best_runs(frame, best=best, by=by, usable=partial(_has_network, runs_dir))
    if rows.empty:
        load_network(RunFolder(runs_dir, frame["key"].iloc[0]))
    shown = []
    for _, row in rows.iterrows():
        title = f"{row['key']} {row['variant']} split={row['split']} seed={row['seed']}"
        shown.append(f"{title}: {row[by]:.3f}")
    print(f"Best by {by}: {'; '.join(shown)}", file=sys.stderr)
    if len(rows) < best:
        fewer = f"The sweep {sweep!r} has {len(rows)} distinct finished models, not {best}."
        print(fewer, file=sys.stderr)
    return [RunFolder(runs_dir, key) for key in rows["key"]]


def _has_network(runs_dir: Path, key: str) -> bool:
    """Whether a run can be exported; prints a line if it cannot."""
    from birds.use.networks import has_network

    folder = RunFolder(runs_dir, key)
    if has_network(folder):
        return True
    left_out = f"Left out: {key}. Its head is fitted without gradients: no network to export."
    print(left_out, file=sys.stderr)
    return False


def models_table(models: Sequence[Model]) -> str:
    """The models as a Markdown table, in the order given."""
    return markdown(HEAD, [_row(model) for model in models])


def _row(model: Model) -> list[str]:
    reached = [f"{100 * value:.1f}" for value in (model.test_accuracy, model.test_macro_f1)]
    shown = [model.title, model.backend, f"{model.bytes / 1e6:.2f}", *reached]
    twin = model.measured.get("against_fp32")
    kept = model.measured.get("kept_in_float")
    if twin is None:
        return [*shown, "", "", "", "", ""]
    change, low, high = (100 * twin[f"accuracy_difference{end}"] for end in ("", "_low", "_high"))
    return [
        *shown,
        f"{change:+.1f} [{low:+.1f}, {high:+.1f}]",
        f"{100 * twin['agreement']:.1f}",
        str(len(twin["flips"])),
        f"{twin['mcnemar_p']:.2g}",
        "" if kept is None else str(len(kept)),
    ]


def notes(models: Sequence[Model]) -> str:
    """Notes below the table: the test images used, the operations in float, missing precisions."""
    twins = [model for model in models if model.precision == "int8"]
    in_float: set[str] = set()
    for twin in twins:
        in_float |= set(twin.measured["float_operations"])
    lines = [
        f"All numbers are for the {twins[0].measured['against_fp32']['images']} test images. In "
        "brackets: 95 % interval of the difference, paired over images. The p value is of "
        "McNemar's exact test. Flips are images whose predicted class changed (listed in the "
        "JSON).",
        f"Left in float inside int8: {', '.join(sorted(in_float)) or 'nothing'}.",
        *sorted({f"{model.measured['absent']}." for model in models}),
    ]
    for twin in twins:
        if "test" in twin.measured["decided_on"]:
            lines.append(
                f"{twin.title}: the test images decided which layers stay in float, so its test "
                "accuracy is too optimistic."
            )
    return "\n".join(lines)
