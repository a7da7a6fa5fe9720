"""The results and costs of fair tuning: accuracy against all seconds, including those of tuning."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.frame import pretraining_seconds, sweep_frame
from analysis.markdown import markdown, write_table
from analysis.palette import RIM, dot, legend, panels
from analysis.tables import sweep_table
from birds.core.spec import UserError
from birds.core.sweep import sweep_file

HEAD = ["method", "split", "trials", "chosen", "validation %", "test %", "seeds", "run s"]
NOTE = (
    "Every method was tuned with the same number of trials, on validation images and with seeds "
    "{seeds}, which are not\nreported. Validation: accuracy of the chosen trial. In brackets: 95 % "
    "interval. Run: training plus its pretraining.\nTuning: the sum over all trials; a shared "
    "pretraining is counted once."
)


def tuned_table(runs_dir: Path, sweep: str) -> tuple[pd.DataFrame, list[int]]:
    """One row for each method: trials, choices, accuracy, and seconds of a run, of tuning and of
    both; and the seeds of the trials.

    Raises UserError if the sweep was not tuned, or if no reported run is finished.
    """
    file = sweep_file(runs_dir, sweep).with_name("tuning.json")
    try:
        told = json.loads(file.read_text())
    except (OSError, ValueError):
        raise UserError(
            f"{sweep} was not tuned; tune every method: python train.py -m sweeps=tuned sweep=NAME"
        ) from None
    table, _ = sweep_table(runs_dir, sweep)
    rows = []
    for name, method in told["methods"].items():
        variant = dict(word.split("=", 1) for word in method["words"])["variant"]
        for cell in table[table["variant"] == variant].to_dict("records"):
            rows.append(_row(runs_dir, name, method, cell))
    return pd.DataFrame(rows), list(told["search_seeds"])


def _row(runs_dir: Path, name: str, method: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    params = method["params"].items()
    chosen = [f"{key.rpartition('.')[2]}={_short(value)}" for key, value in params]
    one = cell["train_seconds"] + cell["pretraining_seconds"]
    tuning = tuning_seconds(runs_dir, method["study"])
    kept = ("split", "variant", "seeds", "accuracy", "accuracy_low", "accuracy_high")
    return {
        "method": name,
        **{column: cell[column] for column in kept},
        "trials": method["trials"],
        "chosen": " ".join(chosen),
        "valid_accuracy": method["valid_accuracy"],
        "run_seconds": one,
        "tuning_seconds": tuning,
        "seconds": one + tuning,
    }


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def tuning_seconds(runs_dir: Path, study: str) -> float:
    """The training seconds of a search's trials and of their pretraining, each counted once."""
    runs, _ = sweep_frame(runs_dir, study)
    if runs.empty:
        return float("nan")
    shared = runs.assign(before=pretraining_seconds(runs_dir, runs), on=runs["needs_keys"].map(str))
    return float(runs["cost_seconds"].sum() + shared.drop_duplicates("on")["before"].sum())


def print_tuned(runs_dir: Path, sweep: str) -> None:
    """Print the table and write it as `tables/SWEEP-tuned`."""
    table, seeds = tuned_table(runs_dir, sweep)
    rows = []
    for row in table.to_dict("records"):
        accuracy, low, high = (100 * row[f"accuracy{end}"] for end in ("", "_low", "_high"))
        rows.append(
            [
                row["method"],
                f"{row['split']}/{100 - row['split']}",
                str(row["trials"]),
                row["chosen"],
                f"{100 * row['valid_accuracy']:.1f}",
                f"{accuracy:.1f} [{low:.1f}, {high:.1f}]",
                str(row["seeds"]),
                f"{row['run_seconds']:.0f}",
                f"{row['tuning_seconds']:.0f}",
                f"{row['seconds']:.0f}",
            ]
        )
    note = NOTE.format(seeds=", ".join(map(str, seeds)))
    text = f"{markdown([*HEAD, 'tuning s', 'all s'], rows)}\n\n{note}"
    written = write_table(runs_dir / "tables" / f"{sweep}-tuned", text, table.to_csv(index=False))
    print(f"\n{text}\nWritten: {written}")


def tuned_figure(runs_dir: Path, sweep: str) -> Figure:
    """Accuracy against seconds: hollow marks for a single run, filled marks including tuning."""
    table, _ = tuned_table(runs_dir, sweep)
    figure, [[axis]] = panels(1, 1, 5.6, 3.6)
    for row in table.to_dict("records"):
        y = 100 * row["accuracy"]
        axis.plot([row["run_seconds"], row["seconds"]], [y, y], color=RIM, lw=0.8, ls=":")
        ends = [100 * row["accuracy_low"], 100 * row["accuracy_high"]]
        axis.plot([row["seconds"]] * 2, ends, color=RIM, lw=1.2)
        hollow = dot(row["variant"]) | {"mfc": "white"}
        axis.plot(row["run_seconds"], y, **hollow)
        words = f"{row['method']} {row['split']}/{100 - row['split']}"
        axis.plot(row["seconds"], y, label=words, ls="", **dot(row["variant"]))
    axis.set(xscale="log", ylabel="test accuracy, %")
    axis.set_xlabel("seconds of training (hollow: one run; filled: including tuning)")
    legend(figure, [axis])
    return figure
