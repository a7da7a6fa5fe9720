"""What jobs do with a run in these tests: a short training without torch, with the real folder,
lock and record.

Its result is a function of the spec, computed epoch by epoch from a checkpoint. So a run that lost
or repeated an epoch ends with another result. Some seeds cause trouble.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from birds.core.record import Record, make_record
from birds.core.spec import RunSpec, Runtime
from birds.core.store import Orphaned, RunFolder, Stopped, write_text
from birds.core.triage import failure_of

BUG, HUNGRY, DIVERGES, KILLED, SLOW, ORPHAN, LONG = 901, 902, 903, 904, 905, 906, 907
EPOCHS = 4
RESULT = {
    "images_labelled": 6,
    "images_unlabelled": 6,
    "images_test": 6,
    "cost_seconds": 0.1,
    "cost_parameters": 1,
}


def quick(spec: RunSpec, runtime: Runtime, should_stop: Callable[[], bool]) -> Record:
    """Train the run, or return its finished result."""
    folder = RunFolder(runtime.runs_dir, spec)
    with folder.claimed(spec):
        if (finished := folder.record()) is not None:
            return finished
        note(folder, "started")
        try:
            record = folder.finish(trained(spec, folder, should_stop))
        except (Stopped, Orphaned):
            raise
        except BaseException as error:
            folder.fail(failure_of(error))
            raise
        note(folder, "finished")
        return record


def note(folder: RunFolder, word: str) -> None:
    """Add a line to the run's log of events."""
    with (folder.path / "events.txt").open("a") as file:
        file.write(f"{word}\n")


def trained(spec: RunSpec, folder: RunFolder, should_stop: Callable[[], bool]) -> Record:
    """The record after all epochs."""
    trouble(spec.seed, folder)
    state: dict[str, Any] = {"epoch": 0, "value": spec.key}
    checkpoint = folder.checkpoint("last")
    checkpoint.parent.mkdir(exist_ok=True)
    if checkpoint.exists():
        state = json.loads(checkpoint.read_text())
    while state["epoch"] < EPOCHS:
        if should_stop():
            raise Stopped("asked to")
        time.sleep(seconds_of_epoch(spec.seed, state["epoch"], folder))
        value = hashlib.sha256(f"{state['value']}/{state['epoch']}".encode()).hexdigest()
        state = {"epoch": state["epoch"] + 1, "value": value}
        folder.assert_mine()
        write_text(checkpoint, json.dumps(state))
        folder.report(
            state="running", epoch=state["epoch"], epochs=EPOCHS, loss=0.5, seconds_left=1.0
        )
    fraction = int(state["value"][:8], 16) / 2**32
    metrics = {
        f"{part}_{name}": fraction
        for part in ("test", "valid")
        for name in ("accuracy", "macro_f1")
    }
    measured = RESULT | metrics | {"cost_parameters_trained": 1, "value": state["value"]}
    return make_record(spec, "cut", measured)


def seconds_of_epoch(seed: int, epoch: int, folder: RunFolder) -> float:
    """The seconds of an epoch: 0.05, but more for some seeds.

    With ORPHAN, epochs after the first are long, but only until the run is started again.
    """
    if seed == ORPHAN:
        again = (folder.path / "events.txt").read_text().count("started") > 1
        return 0.05 if again or epoch == 0 else 15.0
    return {SLOW: 4.0, LONG: 10.0}.get(seed, 0.05)


def trouble(seed: int, folder: RunFolder) -> None:
    """Cause the problem that belongs to this seed, if any."""
    if seed == BUG:
        raise KeyError("a bug")
    if seed == DIVERGES:
        raise FloatingPointError("train_loss became nan in epoch 0: lower the learning rate")
    if seed == HUNGRY and folder.accumulate < 4:
        raise MemoryError("more than there is")
    if seed == KILLED and not (folder.path / "killed-once").exists():
        (folder.path / "killed-once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
