"""Waits for a sweep's jobs: checks the run folders often and SLURM seldom. Ctrl-C does not stop the
jobs.
"""

import time
from collections.abc import Callable
from pathlib import Path

from birds.core.state import OVER, State
from birds.core.sweep import Sweep
from birds.launch.progress import Board
from birds.launch.slurm.status import sweep_status

LOOK_SECONDS = 0.2  # between two checks of the run folders
ASK_SECONDS = 3.0  # between two calls of SLURM


def watch_jobs(
    sweep: Sweep, board: Board, runs_dir: Path, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Update the board until no run is active.

    On Ctrl-C it prints how to continue, and raises the exception again. `meanwhile` is called
    first, while there is time: it imports the modules of the table that is printed at the end.
    """
    asked = 0.0
    try:
        meanwhile()
        with board:
            while not all(state in OVER for state in board.states.values()):
                finished = board.look_for_records()
                if finished or time.monotonic() - asked > ASK_SECONDS:
                    asked = time.monotonic()
                    for one in sweep_status(runs_dir, sweep.name, board.runs):
                        board.set(one.key, one.state, one.why)
                board.refresh()
                time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        left = sum(
            state in (State.RUNNING, State.QUEUED, State.WAITING) for state in board.states.values()
        )
        board.console.print(
            f"\n{left} runs continue on the cluster. Follow them with: birds status {sweep.name}; "
            "the same command waits "
            f"for them again; birds cancel {sweep.name} ends them."
        )
        raise
