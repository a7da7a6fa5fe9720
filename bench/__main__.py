"""`make bench`: measure, keep in bench/results.jsonl, write the table of bench/README.md.
`--check`: the quick ones.

python -m bench [training startup finished makespan side_by_side cache photos encoding
    memory records experiment]
    [--rounds 15] [--folder PHOTOS] [--check]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from bench.paired import ROOT, Row, keep, newest

README, BOUNDS = ROOT / "bench" / "README.md", ROOT / "bench" / "bounds.yaml"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->"


def _training(asked: argparse.Namespace) -> list[Row]:
    from bench.training import measure

    return measure(asked.rounds)


def _startup(asked: argparse.Namespace) -> list[Row]:
    from bench.starting import startup

    return startup(max(3, asked.rounds // 3))


def _finished(asked: argparse.Namespace) -> list[Row]:
    from bench.starting import finished

    return finished(max(3, asked.rounds // 3))


def _makespan(asked: argparse.Namespace) -> list[Row]:
    from bench.starting import makespan

    return makespan(40)


def _side_by_side(asked: argparse.Namespace) -> list[Row]:
    from bench.starting import side_by_side

    return side_by_side()


def _cache(asked: argparse.Namespace) -> list[Row]:
    from bench.scale import cache

    return cache(max(7, asked.rounds // 2))


def _photos(asked: argparse.Namespace) -> list[Row]:
    from bench.scale import photos

    return photos(10_000, 100_000)


def _encoding(asked: argparse.Namespace) -> list[Row]:
    from bench.encoding import measure

    return measure(max(3, asked.rounds // 3))


def _memory(asked: argparse.Namespace) -> list[Row]:
    from bench.memory import measure

    return measure(max(3, asked.rounds // 3))


def _records(asked: argparse.Namespace) -> list[Row]:
    from bench.scale import records

    return records(1_000, 10_000)


def _experiment(asked: argparse.Namespace) -> list[Row]:
    from bench.experiment import measure, rows

    return rows(measure(folder=asked.folder))


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "training": _training,
    "startup": _startup,
    "finished": _finished,
    "makespan": _makespan,
    "side_by_side": _side_by_side,
    "cache": _cache,
    "photos": _photos,
    "encoding": _encoding,
    "memory": _memory,
    "records": _records,
    "experiment": _experiment,
}
ELSEWHERE = (
    "startup",
    "finished",
    "makespan",
    "side_by_side",
    "records",
    "experiment",
)  # in other processes: who is another cannot be told
QUICK = ("training", "cache")  # ratios that hold on a noisy machine


def main() -> int:
    """Measure what was asked for; 1 when `--check` finds a ratio below its bound and `--strict`
    says that matters.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help="which (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=15, help="how often each pair is timed (default: 15)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="photos for the experiment (default: the embedded birds, drawn anew)",
    )
    parser.add_argument(
        "--check", action="store_true", help="hold the stable ratios against bench/bounds.yaml"
    )
    parser.add_argument(
        "--strict", action="store_true", help="with --check, fail when one is out of bounds"
    )
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(MEASUREMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    rows = _measured(asked.names or (QUICK if asked.check else list(MEASUREMENTS)), asked)
    if not asked.check:
        _write_table()
        return 0
    out = _out_of_bounds(rows)
    return 1 if out and asked.strict else 0


def _measured(names: list[str] | tuple[str, ...], asked: argparse.Namespace) -> list[Row]:
    from birds.use.latency.host import seconds_of_others

    rows = []
    for name in names:
        before, started = seconds_of_others(), time.perf_counter()
        own = MEASUREMENTS[name](asked)
        after = seconds_of_others()
        told = name not in ELSEWHERE and before is not None and after is not None
        if not asked.check:
            took = time.perf_counter() - started
            keep(own, (after - before) / took if told else None)  # type: ignore[operator]
        for row in own:
            print(_line(row), flush=True)
        rows += own
    return rows


def _line(row: Row) -> str:
    interval = f" [{row.low:.3g}, {row.high:.3g}]" if row.low is not None else ""
    aim = f"aim {'>=' if row.more else '<='} {row.aim:g}"
    unit = "" if row.unit == "ratio" else f" {row.unit}"
    return (
        f"{row.name}: {row.value:.3g}{interval}{unit} "
        f"({aim}{'' if row.reached else ', not reached'}; {row.shown})"
    )


def _out_of_bounds(rows: list[Row]) -> list[Row]:
    bounds = yaml.safe_load(BOUNDS.read_text())
    out = [row for row in rows if row.name in bounds and row.value < bounds[row.name]]
    for row in out:
        print(
            f"SLOWER: {row.name} is {row.value:.3g}; it was always above {bounds[row.name]}",
            file=sys.stderr,
        )
    if not out:
        print(f"none of {sum(row.name in bounds for row in rows)} ratios is out of bounds")
    return out


def table() -> str:
    """The newest line of every measurement as Markdown."""
    lines = [
        "| measured | value | aim | reached | what lies behind it | on |",
        "|---|---|---|---|---|---|",
    ]
    for row in newest():
        interval = f" [{row['low']:.3g}, {row['high']:.3g}]" if row["low"] is not None else ""
        unit = "" if row["unit"] == "ratio" else f" {row['unit']}"
        aim, reached = (
            f"{'≥' if row['more'] else '≤'} {row['aim']:g}",
            "yes" if row["reached"] else "**no**",
        )
        where = f"{row['cpu']}, {row['cores']} cores, {row['date']}, {row['git']}"
        lines.append(
            f"| {row['name']} | {row['value']:.3g}{interval}{unit} | {aim} | {reached} | "
            f"{row['shown']} | {where} |"
        )
    return "\n".join(lines) + "\n"


def _write_table() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    sys.exit(main())
