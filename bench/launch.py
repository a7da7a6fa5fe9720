"""How long launching takes, beside the stock launcher, on one private SLURM in one sitting. Runs do
nothing.

    slurm/testbed/install.sh && python bench/launch.py      (make bench-launch; about four minutes)

40 runs on two slots, each way in turn, `--rounds` times: with hydra-submitit-launcher, with
`slurm=cpu`, and with twenty runs a job. Then 1,000 runs are submitted and looked at. Prints a
table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "slurm" / "testbed")]
RUNS = 40
STOCK = """\
import time, hydra
@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(config):
    open(config.out, "a").write(f"{time.time()}\\n")
main()
"""


def noop(spec: Any, runtime: Any, should_stop: Callable[[], bool]) -> None:
    """What a job does with a run here: its start and an empty record."""
    from birds.core.record import make_record
    from birds.core.store import RunFolder

    folder = RunFolder(runtime.runs_dir, spec)
    with folder.claimed(spec), (runtime.runs_dir / "starts.txt").open("a") as file:
        file.write(f"{time.time()}\n")
        parts = {f"images_{part}": 1 for part in ("labelled", "unlabelled", "test")}
        metrics = {
            f"{part}_{name}": 0.5 for part in ("test", "valid") for name in ("accuracy", "macro_f1")
        }
        costs = {f"cost_{name}": 1 for name in ("seconds", "parameters", "parameters_trained")}
        folder.finish(make_record(spec, "none", {**parts, **metrics, **costs}))


def as_train(words: list[str]) -> None:
    """`train.py` with jobs that do nothing; says what it took on its last line."""
    import birds.launch.launcher
    import birds.launch.slurm.submit

    birds.launch.slurm.submit.WORK = "bench.launch.noop"
    took: dict[str, float] = {}
    plan, submit = birds.launch.launcher._planned, birds.launch.slurm.submit.submit

    def timed(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            began = time.perf_counter()
            result = act(*args)
            took[name] = took.get(name, 0) + time.perf_counter() - began
            return result

        return wrapped

    birds.launch.launcher._planned = timed("composing", plan)
    birds.launch.slurm.submit.submit = timed("submitting", submit)
    sys.argv = [str(ROOT / "train.py"), *words]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        took["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"TOOK {json.dumps(took)}", flush=True)


class Bench:
    """Sweeps on one cluster, each in a folder of its own."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster, self.folder, self.count = cluster, folder, 0
        folder.mkdir()
        self.photos = folder / "photos"
        self._draw_photos()

    def _draw_photos(self) -> None:
        import numpy as np
        from PIL import Image

        draw = np.random.default_rng(0)
        for part, count in {"train": 8, "valid": 2, "test": 2}.items():
            for name in ("JAY", "OWL"):
                (self.photos / part / name).mkdir(parents=True)
                for k in range(count):
                    pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(self.photos / part / name / f"{k}.png")

    def run(self, command: list[str], starts: Path) -> dict[str, float]:
        """Run a command to its end: seconds to the first job's start, in all, and from the last
        start to the end.
        """
        began = time.time()
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.cluster.env,
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.time() - began
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        times = sorted(map(float, starts.read_text().split())) if starts.exists() else []
        found = re.search(r"TOOK (.*)", done.stdout)
        own = json.loads(found[1]) if found else {}
        if times:
            own |= {
                "first_start": times[0] - began,
                "last_start_to_return": began + took - times[-1],
            }
        return {"makespan": took, **own}

    def ours(self, *words: str) -> dict[str, float]:
        """A sweep by `train.py` with jobs that do nothing."""
        self.count += 1
        runs = self.folder / f"runs{self.count}"
        settings = [
            "data=folder",
            f"data.root={self.photos}",
            "data.test=2",
            "tracking=none",
            "device=cpu",
        ]
        settings += [
            f"runs_dir={runs}",
            f"cache_dir={self.folder}/cache",
            "slurm=cpu",
            "slurm.mem_gb=0.2",
        ]
        command = [sys.executable, __file__, "--train", "-m", *settings, "split=50", *words]
        return self.run(command, runs / "starts.txt")

    def stock(self) -> dict[str, float]:
        """The same number of jobs that do nothing by hydra-submitit-launcher."""
        self.count += 1
        app, out = self.folder / "stock.py", self.folder / f"stock{self.count}.txt"
        app.write_text(STOCK)
        settings = [
            "hydra/launcher=submitit_slurm",
            "hydra.launcher.mem_gb=1",
            "hydra.launcher.cpus_per_task=1",
        ]
        settings += [
            f"hydra.sweep.dir={self.folder}/multi{self.count}",
            f"+out={out}",
            f"+k=range({RUNS})",
        ]
        return self.run([sys.executable, str(app), "-m", *settings], out)

    def thousand(self) -> dict[str, float]:
        """1,002 runs, submitted and left, and `birds status` of them."""
        begin = "+slurm.additional_parameters.begin=now+1hour"
        took = self.ours("variant=A,B2", "seed=range(334)", "launch.wait=false", begin)
        began = time.time()
        command = [
            sys.executable,
            "-m",
            "birds",
            "--runs-dir",
            f"{self.folder}/runs{self.count}",
            "status",
        ]
        said = subprocess.run(
            command, cwd=ROOT, env=self.cluster.env, capture_output=True, text=True, check=True
        )
        assert said.stdout.count("queued") + said.stdout.count("waiting") >= 1002
        return took | {"status": time.time() - began}


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--train"]:
        as_train(sys.argv[2:])
        return
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--rounds", type=int, default=3)
    rounds = command.parse_args().rounds
    from cluster import Cluster  # type: ignore[import-not-found]

    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        Cluster(Path(name), nodes=1, cpus=2, gpus=0) as cluster,
    ):
        bench = Bench(cluster, Path(name) / "work")
        ways: dict[str, Callable[[], dict[str, float]]] = {
            "hydra-submitit-launcher": bench.stock,
            "slurm=cpu": lambda: bench.ours("variant=A", f"seed=range({RUNS})"),
            "slurm=cpu, 20 runs a job": lambda: bench.ours(
                "variant=A", f"seed=range({RUNS})", "slurm.runs_per_job=20"
            ),
        }
        rows: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for way, act in ways.items():
                rows[way].append(act())
        thousand = bench.thousand()
    report(rows, thousand)


def report(rows: dict[str, list[dict[str, float]]], thousand: dict[str, float]) -> None:
    """Print the table."""
    print(f"{RUNS} runs on 2 slots, {os.cpu_count()} cores; median [least, most] in seconds")
    stock = [row["makespan"] for row in rows["hydra-submitit-launcher"]]
    for way, own in rows.items():
        print(f"\n{way}")
        for name in sorted({name for row in own for name in row}):
            values = [row[name] / (RUNS if name == "composing" else 1) for row in own]
            label = "composing, a run" if name == "composing" else name
            print(
                f"  {label:22} {statistics.median(values):8.3f} [{min(values):.3f}, "
                f"{max(values):.3f}]"
            )
        ratios = [row["makespan"] / other for row, other in zip(own, stock, strict=True)]
        print(
            f"  {'makespan / stock':22} {statistics.median(ratios):8.2f} [{min(ratios):.2f}, "
            f"{max(ratios):.2f}]"
        )
    print("\n1,002 runs submitted and left")
    print("\n".join(f"  {name:22} {value:8.2f}" for name, value in thousand.items()))


if __name__ == "__main__":
    main()
