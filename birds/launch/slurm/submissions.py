"""Files that record what was submitted to SLURM: one for each array, written before `sbatch` is
called and completed afterwards.

The token in the job's name links the two. A file without a job id is resolved by asking SLURM for a
job with that name: either it exists, or `sbatch` was never called. So killing the submitting
process at any moment neither loses nor duplicates a run.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from birds.core.locks import locked
from birds.core.spec import RECIPE, Runtime
from birds.core.store import RunFolder, write_text
from birds.core.triage import Failure, Kind
from birds.launch.slurm.client import Element, elements
from birds.launch.slurm.profile import Resources

HELD = "JobHeld"  # how SLURM's reasons for a job on hold begin
ENDS = {
    "OUT_OF_MEMORY": Kind.MEMORY,
    "TIMEOUT": Kind.TIMEOUT,
    "NODE_FAIL": Kind.NODE,
    "BOOT_FAIL": Kind.NODE,
}


class Submission(BaseModel, frozen=True):
    """An array of jobs, with the keys of each job's runs and everything that a job needs.

    `job_id` is None until `sbatch` has answered. `ended` holds SLURM's last state of each element
    after all have ended.
    """

    token: str
    sweep: str
    stage: str
    jobs: dict[int, tuple[str, ...]]
    depends: str
    runtime: Runtime
    resources: Resources
    kill_wait_s: int
    max_requeues: int
    canary: bool
    fail_fast: bool
    work: str
    written: float
    recipe: int = RECIPE
    job_id: int | None = None
    cancelled: bool = False
    ended: dict[int, str] | None = None

    @property
    def name(self) -> str:
        """The job's name in SLURM."""
        return f"birds-{re.sub(r'[^A-Za-z0-9_.-]', '_', self.sweep)[:40]}-{self.stage}-{self.token}"

    @property
    def file(self) -> Path:
        """The file of this submission."""
        return submissions_folder(self.runtime.runs_dir, self.sweep) / f"{self.token}.json"

    def save(self) -> Submission:
        """Write the file atomically."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, self.model_dump_json(indent=1))
        return self

    def forget(self) -> None:
        """Remove the file and its sbatch script."""
        self.file.unlink(missing_ok=True)
        self.file.with_suffix(".sh").unlink(missing_ok=True)

    def but(self, **changes: object) -> Submission:
        """A copy with changes."""
        return self.model_copy(update=changes)


def submissions_folder(runs_dir: Path, sweep: str) -> Path:
    """The folder of a sweep's submissions."""
    return runs_dir / "sweeps" / sweep / "submissions"


def held_file(runs_dir: Path, sweep: str) -> Path:
    """The file that says why a sweep's jobs were put on hold."""
    return runs_dir / "sweeps" / sweep / "held.txt"


def read_submissions(runs_dir: Path, sweep: str | None = None) -> list[Submission]:
    """All submissions of a sweep, or of every sweep, oldest first; incomplete files are skipped."""
    found = []
    name = "*" if sweep is None else glob.escape(sweep)
    for file in runs_dir.glob(f"sweeps/{name}/submissions/*.json"):
        try:
            found.append(Submission.model_validate_json(file.read_text()))
        except (OSError, ValidationError):
            continue
    return sorted(found, key=lambda submission: submission.written)


@contextmanager
def submitting(runs_dir: Path) -> Iterator[int]:
    """Hold the lock for submitting. Yields its file descriptor, for `sbatch` to inherit.

    An `sbatch` whose parent was killed thus holds the lock until it has ended.
    """
    with locked(runs_dir / "sweeps" / ".submitting") as file:
        yield file.fileno()


def known_elements(submissions: Iterable[Submission]) -> dict[str, list[Element]]:
    """For each submission that has not ended, by token, the elements that SLURM knows."""
    names = {s.name: s.token for s in submissions if s.ended is None}
    found: dict[str, list[Element]] = {token: [] for token in names.values()}
    for element in elements(list(names)):
        found[names[element.name]].append(element)
    return found


def settled(runs_dir: Path) -> list[tuple[Submission, list[Element]]]:
    """The submissions with active elements, and these elements. Call it only under the lock.

    Missing job ids are found by the job's name. Submissions that never reached SLURM are removed.
    When all elements have ended, SLURM's last states are saved; they become the failure of a run
    that could not write one.
    """
    open_ones = [s for s in read_submissions(runs_dir) if s.ended is None]
    known = known_elements(open_ones)
    living: list[tuple[Submission, list[Element]]] = []
    for submission in open_ones:
        own = known[submission.token]
        if submission.job_id is None:
            if not own:
                submission.forget()
                continue
            submission = submission.but(job_id=own[0].array).save()
        alive = [element for element in own if element.alive]
        if alive:
            living.append((submission, alive))
        else:
            submission = submission.but(
                ended={element.index: element.state for element in own}
            ).save()
            _keep_last_words(submission)
    return living


def _keep_last_words(submission: Submission) -> None:
    for index, state in (submission.ended or {}).items():
        if state not in ENDS:
            continue
        for key in submission.jobs[index]:
            folder = RunFolder(submission.runtime.runs_dir, key)
            if (
                folder.attempt_file.exists()
                and folder.record() is None
                and folder.failure() is None
            ):
                folder.fail(
                    Failure(ENDS[state], f"SLURM ended job {submission.job_id}_{index}: {state}")
                )


def places(living: Sequence[tuple[Submission, Sequence[Element]]]) -> dict[str, Element]:
    """The array element of each run that is queued or running, by key."""
    return {
        key: element
        for submission, own in living
        for element in own
        for key in submission.jobs[element.index]
    }
