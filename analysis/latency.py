"""Tables of latency rows: one comparison per machine, never across machines.

`runs/latency.jsonl` has one row for each model, device, number of threads and batch (see
`birds.use.latency.measure`). Of each run on each machine only the newest race is used, because
models of different races were not timed together. Ratios and their intervals were computed within
one race.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.markdown import markdown
from birds.core.locks import locked
from birds.core.record import load_records
from birds.core.spec import UserError
from birds.core.store import write_text

CELL = ["device", "threads", "batch"]
RACE = ["machine", "key", *CELL]
CROWD = 0.2  # cores used by other processes above which a race counts as disturbed
FEW_CALLS = 100  # the 99th percentile of fewer calls is almost their maximum


def rows_file(runs_dir: Path) -> Path:
    """The file of the rows."""
    return runs_dir / "latency.jsonl"


def append_rows(runs_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows, one JSON object per line, all or none; several processes may do so at once.

    Raises UserError when the disk is full; the file is then unchanged.
    """
    path = rows_file(runs_dir)
    with locked(path.with_suffix(".lock")):
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        lines += [json.dumps(row, sort_keys=True) for row in rows]
        write_text(path, "\n".join([*lines, ""]))


def read_rows(runs_dir: Path) -> pd.DataFrame:
    """All rows in the order of writing, without incomplete or invalid lines."""
    path, rows = rows_file(runs_dir), []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return pd.DataFrame(
        [row for row in rows if isinstance(row, dict) and {*RACE, "model", "time"} <= row.keys()]
    )


def latency_table(runs_dir: Path) -> pd.DataFrame:
    """The newest race of each run, device, threads and batch on each machine; the machine of the
    last measurement comes first.

    Raises UserError if nothing was measured yet.
    """
    rows = read_rows(runs_dir)
    if rows.empty:
        raise UserError(
            f"no latency was measured in {runs_dir} yet; measure it with: birds latency SWEEP"
        )
    newest = rows[rows["time"] == rows.groupby(RACE)["time"].transform("max")]
    encoders = encoder_names(runs_dir, list(newest["key"].unique()))
    told_apart = len(set(encoders.values())) > 1
    runs = []
    for row in newest.itertuples():
        own = f" {encoders[row.key]}" if told_apart and row.key in encoders else ""
        runs.append(f"{row.variant}{own} {row.split}/{100 - row.split} seed {row.seed}")
    newest = newest.assign(run=runs, last=newest.groupby("machine")["time"].transform("max"))
    order = ["last", "machine", *CELL, "split", "variant", "seed", "key", "baseline", "median_ms"]
    upwards = [name not in ("last", "baseline", "median_ms") for name in order]
    return newest.sort_values(order, ascending=upwards, kind="stable", ignore_index=True).drop(
        columns="last"
    )


def encoder_names(runs_dir: Path, keys: Sequence[str]) -> dict[str, str]:
    """The encoder of each finished run by key: its model or, without one, its name."""
    names = {}
    for record in load_records(runs_dir, list(keys)).to_dict("records"):
        model = record.get("choice.encoder.options.model")
        names[record["key"]] = model if isinstance(model, str) else record["choice.encoder.name"]
    return names


def cell_title(device: str, threads: int, batch: int) -> str:
    """The title of a race: device, threads and batch."""
    return f"{device}, {threads} thread{'s' if threads > 1 else ''}, batch {batch}"


def as_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown: for each machine its description, then one comparison for each device,
    threads and batch.
    """
    return "\n\n".join(
        [_machine_text(rows) for _, rows in table.groupby("machine", sort=False)] + [NOTE]
    )


CROWDED = (
    "**Measured on a busy machine (other processes used {:.2f} of {} cores)**: this slows down "
    "models with several threads\n  most, above all PyTorch. Do not quote these factors; measure "
    "again when nothing else runs."
)

NOTE = (
    "Times are for one call, from uint8 images in memory to logits in memory. x eager, x best "
    "fp32: speed\nfactor, with a 98 % bootstrap interval over rounds, paired by round. =: no "
    "difference is shown. *: the best\nfp32 itself. Times are of warm calls, ratios use the "
    "fastest call of each visit. ~: 99th percentile of fewer\nthan 100 calls. Opened: "
    "time from the file to the first answer, in a new process with its runtime imported.\n"
    "Memory: the growth of that process, including the runtime."
)


def _machine_text(rows: pd.DataFrame) -> str:
    parts = [_about(rows)]
    for where, cell in rows.groupby(CELL, sort=False):
        shown = _markdown([_shown(row) for row in cell.to_dict("records")])
        parts += [f"### {cell_title(*where)}", shown, "\n".join(_caveats(cell))]
    parts += ["### Size, start, accuracy", _markdown(_weights(rows))]
    return "\n\n".join(parts)


def _markdown(rows: Sequence[dict[str, str]]) -> str:
    return markdown(list(rows[0]), [list(row.values()) for row in rows])


def _about(rows: pd.DataFrame) -> str:
    last = rows.loc[rows["time"].idxmax()]
    load, others = rows["load_before"], rows["cores_of_others"]
    taken = (
        ""
        if others.isna().all()
        else f"; other processes used {others.min():.2f} to {others.max():.2f} cores"
    )
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    sets = " ".join(last["instruction_sets"]) or "unknown"
    graphics = f" and {last['gpu']}" if last["gpu"] else ""
    size = f"{last['cores']} cores, {last['memory_gb']} GB"
    return (
        f"## {last['cpu']}{graphics}, {size} (machine {last['machine']})\n\n"
        f"Host {last['host']}, {last['system']}; instruction sets: {sets}; "
        f"clock governor: {last['governor']}; "
        f"load average before each race: {load.min():.1f} to {load.max():.1f}{taken}.\n"
        f"{versions}. Last measured {datetime.fromtimestamp(last['time']):%Y-%m-%d %H:%M}."
    )


def _shown(row: dict[str, Any]) -> dict[str, str]:
    best = row["model"] == row["best_fp32"]
    return {
        "run": row["run"],
        "model": row["model"] + " *" * best,
        "median ms": f"{row['median_ms']:.2f}",
        "p95 ms": f"{row['p95_ms']:.2f}",
        "p99 ms": f"{'~' * (row['calls'] < FEW_CALLS)}{row['p99_ms']:.2f}",
        "images/s": f"{row['images_per_second']:.0f}",
        "x eager": _faster(row, "ratio_to_eager"),
        "x best fp32": _faster(row, "ratio_to_best_fp32"),
        "rounds": str(row["rounds"]),
    }


def _faster(row: dict[str, Any], column: str) -> str:
    """A ratio of times as a speed factor, with its interval."""
    if pd.isna(row[column]):
        return ""
    factor, low, high = (1 / row[column + end] for end in ("", "_high", "_low"))
    return (
        f"{factor:.2f} [{low:.2f}, {high:.2f}]{' =' * (row[f'{column}_told'] == 'cannot be told')}"
    )


def _caveats(cell: pd.DataFrame) -> list[str]:
    """Notes on a race, once for each run: the comparison of a model with itself, and models that
    could not start.
    """
    others = cell["cores_of_others"].max()
    lines = [f"- {CROWDED.format(others, cell['cores'].max())}"] if others > CROWD else []
    for _, row in cell.drop_duplicates("key").iterrows():
        lines.append(f"- {row['run']}: {row['aa_verdict']} ({row['aa_model']})")
        lines += [
            f"- {row['run']}: {name} is left out: {why}" for name, why in row["left_out"].items()
        ]
    return lines


def _weights(rows: pd.DataFrame) -> list[dict[str, str]]:
    """One row per model with the values that do not depend on threads or batch."""
    once = rows.drop_duplicates(["key", "model", "device"])
    return [
        {
            "run": row["run"],
            "model": row["model"],
            "MB": _number(row["bytes"], 1e-6, 2),
            "import ms": _number(row["import_ms"]),
            "opened ms": _number(row["load_ms"]),
            "memory MiB": _number(row["load_mb"]),
            "accuracy %": _number(row["test_accuracy"], 100, 1),
            "macro F1 %": _number(row["test_macro_f1"], 100, 1),
        }
        for row in once[once["device"] == once["device"].iloc[0]].to_dict("records")
    ]


def _number(value: float | None, factor: float = 1, digits: int = 0) -> str:
    return "" if pd.isna(value) or value is None else f"{factor * value:.{digits}f}"
