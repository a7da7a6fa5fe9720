"""How long experiment 1 takes, beside the same experiment as a careful Lightning user would write
it.

    python bench/experiment.py [--pretrain-epochs 2 --classify-epochs 2 --frozen-epochs 4] [--folder
    PHOTOS]

Both do splits 70 and 90 by variants A, B1 and B2 on the same photos, cuts, recipes and epochs:
first the six jobs of `bench/reference.py` one after another, then one `train.py -m` from an empty
runs folder and an empty photo cache. Prints JSON with seconds and test accuracies of both. Without
`--folder` the embedded birds are drawn at 224 px, which takes minutes and is not counted; to
measure more than once draw them once, with `--draw FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from bench.paired import Row  # noqa: E402
from birds.core.machine import cores  # noqa: E402
from birds.core.spec import Part  # noqa: E402
from birds.data.deal import read_images  # noqa: E402
from birds.data.files import path_of  # noqa: E402
from birds.data.prepare import create_source  # noqa: E402
from birds.data.rendering.synthetic import write_synthetic  # noqa: E402

SPLITS, VARIANTS = (70, 90), ("A", "B1", "B2")
PHOTO_SIZE = 224  # px, that of BIRDS 525 SPECIES


class Epochs(NamedTuple):
    """How many epochs each kind of training has."""

    pretrain: int = 2
    classify: int = 2
    frozen: int = 4


def measure(
    epochs: Epochs = Epochs(),  # noqa: B008  (immutable)
    *,
    species: int = 20,
    move_to_test: int = 20,
    seed: int = 0,
    folder: Path | None = None,
    channels_last: bool = False,
    splits: Sequence[int] = SPLITS,
    variants: Sequence[str] = VARIANTS,
) -> dict[str, Any]:
    """Seconds and test accuracies of the reference and of ours, by cell of `splits` and `variants`,
    and how many times ours is faster.

    `ratio` counts everything; `ratio_sharing` leaves out the pretraining that the reference repeats
    for B2, as one who kept its checkpoint by hand would. `channels_last` gives the reference our
    memory layout. Raises RuntimeError with the end of what a process printed when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        temporary = Path(name)
        if folder is None:
            folder = temporary / "drawn"
            write_synthetic(folder, size=PHOTO_SIZE)
        photos = dealt(folder, temporary, species, move_to_test)
        cells = [(split, variant) for split in splits for variant in variants]
        layout = ["--channels-last"] if channels_last else []
        jobs = {
            cell_name(*cell): reference_job(photos, *cell, epochs, seed, layout) for cell in cells
        }
        ours, records = our_sweep(photos, temporary, epochs, species, seed, splits, variants)
    reference = sum(job["seconds"] for job in jobs.values())
    repeated = sum(
        jobs[cell_name(split, "B2")]["pretrain_seconds"] for split in splits if "B2" in variants
    )
    return {
        "epochs": epochs._asdict(),
        "cores": cores(),
        "reference_seconds": round(reference, 2),
        "reference_seconds_sharing": round(reference - repeated, 2),
        "ours_seconds": round(ours, 2),
        "ratio": round(reference / ours, 3),
        "ratio_sharing": round((reference - repeated) / ours, 3),
        "reference_jobs": jobs,
        "ours_accuracy": {
            cell_name(r["split"], r["variant"]): r["test_accuracy"]
            for r in records
            if r["stage"] == "classify"
        },
        "ours_phases": phases(records),
        "reference_phases": {
            "pretrain": round(sum(job["pretrain_seconds"] for job in jobs.values()), 1),
            "classify": round(sum(job["classify_seconds"] for job in jobs.values()), 1),
        },
    }


def phases(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The seconds of each phase of our runs, summed over runs: `cost_seconds_*` of the records."""
    start = "cost_seconds_"
    total: dict[str, float] = {}
    for record in records:
        for name in (name for name in record if name.startswith(start)):
            phase = name.removeprefix(start)
            total[phase] = round(total.get(phase, 0.0) + record[name], 1)
    return total


def rows(result: dict[str, Any]) -> list[Row]:
    """The result as rows of the benchmark: all of it, and without the pretraining that the
    reference repeats.
    """
    epochs = "/".join(str(count) for count in result["epochs"].values())
    seconds = "epochs {}, {} cores: reference {:.0f} s, ours {:.0f} s (summed over runs: {})"
    parts = ", ".join(f"{name} {spent:.0f}" for name, spent in result["ours_phases"].items())
    return [
        Row(
            f"experiment 1: {name}",
            result[f"ratio{end}"],
            8,
            more=True,
            shown=seconds.format(
                epochs,
                result["cores"],
                result[f"reference_seconds{end}"],
                result["ours_seconds"],
                parts,
            ),
        )
        for name, end in (
            ("reference / ours, wall time", ""),
            ("the same, reference pretraining once", "_sharing"),
        )
    ]


def cell_name(split: int, variant: str) -> str:
    """What a cell is called in the result."""
    return f"{split}/{variant}"


def dealt(folder: Path, temporary: Path, species: int, move_to_test: int) -> Path:
    """The photos that `birds` would choose of a folder, as train|valid|test/<species>/ where
    nothing is to choose.
    """
    source = create_source(Part(name="folder", options={"root": str(folder)}))
    images = read_images(source, temporary / "contents", classes=species, test=move_to_test, seed=0)
    for name, label, part in zip(images.ids, images.label, images.part, strict=True):
        to = temporary / "photos" / str(part) / images.classes[label]
        to.mkdir(parents=True, exist_ok=True)
        path = path_of(name)
        shutil.copyfile(folder / path, to / path.replace("/", "-"))
    return temporary / "photos"


def reference_job(
    photos: Path, split: int, variant: str, epochs: Epochs, seed: int, layout: list[str]
) -> dict[str, float]:
    """One job of the reference: its result and the wall seconds of its process."""
    command = [
        str(ROOT / "bench" / "reference.py"),
        "--folder",
        str(photos),
        "--split",
        str(split),
        *layout,
    ]
    command += ["--variant", variant, "--seed", str(seed)]
    for stage, count in epochs._asdict().items():
        command += [f"--epochs-{stage}", str(count)]
    seconds, said = timed(command, photos.parent)
    result: dict[str, float] = json.loads(said.splitlines()[-1])
    kept = ("test_accuracy", "pretrain_seconds", "classify_seconds")
    return {"seconds": seconds} | {name: result[name] for name in kept}


def our_sweep(
    photos: Path,
    temporary: Path,
    epochs: Epochs,
    species: int,
    seed: int,
    splits: Sequence[int],
    variants: Sequence[str],
) -> tuple[float, list[dict[str, Any]]]:
    """The sweep: its wall seconds, and its records by cell."""
    runs = temporary / "runs"
    command = [
        str(ROOT / "train.py"),
        "-m",
        f"split={','.join(map(str, splits))}",
        f"variant={','.join(variants)}",
    ]
    command += [
        "data=folder",
        f"data.root={photos}",
        f"data.classes={species}",
        "data.test=0",
        f"seed={seed}",
    ]
    command += [
        "budget=laptop",
        *(f"budget.{stage}.epochs={count}" for stage, count in epochs._asdict().items()),
    ]
    command += ["tracking=none", f"runs_dir={runs}", f"cache_dir={temporary}/cache"]
    seconds, _ = timed(command, temporary)
    records = [json.loads(path.read_text()) for path in runs.glob("*/record.json")]
    return seconds, sorted(records, key=lambda r: (r["split"], r["variant"]))


def timed(command: list[str], folder: Path) -> tuple[float, str]:
    """Wall seconds of a Python process in a folder, and what it printed. Raises RuntimeError when
    it fails.
    """
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return round(time.perf_counter() - began, 2), done.stdout


def main() -> None:
    """Measure and print."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for stage, count in Epochs()._asdict().items():
        command.add_argument(f"--{stage}-epochs", type=int, default=count)
    command.add_argument(
        "--folder", type=Path, help="photos as train|valid|test/<species>/ or <species>/"
    )
    command.add_argument("--species", type=int, default=20)
    command.add_argument(
        "--move-to-test", type=int, default=20, help="training photos a species that join the test"
    )
    command.add_argument("--splits", type=int, nargs="+", default=SPLITS)
    command.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--channels-last", action="store_true", help="the reference with our memory layout"
    )
    command.add_argument("--draw", type=Path, help="only draw the embedded birds into this folder")
    asked = command.parse_args()
    if asked.draw:
        write_synthetic(asked.draw, size=PHOTO_SIZE)
        return
    epochs = Epochs(asked.pretrain_epochs, asked.classify_epochs, asked.frozen_epochs)
    chosen = {
        name: getattr(asked, name)
        for name in (
            "species",
            "move_to_test",
            "seed",
            "folder",
            "channels_last",
            "splits",
            "variants",
        )
    }
    print(json.dumps(measure(epochs, **chosen), indent=2))


if __name__ == "__main__":
    main()
