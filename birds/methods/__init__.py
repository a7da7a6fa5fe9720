"""Methods: pretrainings and classifiers. A method trains, saves its result, loads it and measures
it.

A method needs no epochs, no Lightning and no network: `birds.methods.gradient` is for those that
train by gradient descent, `birds.methods.classify._by_fitting` for heads that scikit-learn fits.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from birds.core.machine import Machine
from birds.core.parts import options_of, part_class
from birds.core.spec import RunSpec, Runtime, UserError
from birds.core.stopwatch import Stopwatch
from birds.core.store import RunFolder

if TYPE_CHECKING:
    from birds.data.module import ImageData
    from birds.encoders import Encoder


@dataclasses.dataclass(frozen=True)
class Job:
    """What a method gets besides its options: the data, the runs it builds on, and where it works.

    given: the finished methods that the run needs, in the order of `spec.needs`.
    log: the run in W&B, or None. watch: the seconds of the run's phases.
    """

    spec: RunSpec
    data: "ImageData"
    given: tuple[Any, ...]
    folder: RunFolder
    machine: Machine
    runtime: Runtime
    say: Callable[[str], object]
    should_stop: Callable[[], bool]
    log: Any = None
    watch: Stopwatch = dataclasses.field(default_factory=Stopwatch)


class Method(Protocol):
    """The functions of a method that a run calls."""

    def fit(self, job: Job) -> dict[str, Any]:
        """Learn and save the result into the run's folder. Continues from the last saved state, if
        any.

        Returns columns of the record, such as `epochs` and `cost_seconds`.
        """

    def measure(self, job: Job) -> dict[str, Any]:
        """Returns metrics of the saved result, by column; predictions and pictures go into the
        folder.
        """


class Pretraining(Method, Protocol):
    """A method whose encoder other runs start from."""

    encoder: "Encoder"


def create_method(job: Job) -> Any:
    """The method of a run: untrained, or starting from the finished methods that it was given."""
    made_by = part_class(job.spec.kind, job.spec.method.place)
    if hasattr(made_by, "create"):
        return made_by.create(job)
    return made_by(job.spec, job.data.steps_per_epoch, *job.given)


def load_method(spec: RunSpec, folder: RunFolder, classes: Sequence[str] = ()) -> Any:
    """A finished run's method, as it was saved. Raises UserError when saved files are missing."""
    from birds.encoders import blank_encoders

    with blank_encoders():
        return part_class(spec.kind, spec.method.place).load(spec, folder, classes)


def refuse_without_unlabelled(spec: RunSpec, unlabelled: int) -> None:
    """Raise UserError if there are no unlabelled images, but the run, or a run that it needs,
    learns from them.

    Args:
        spec: the run.
        unlabelled: how many unlabelled images its cut and its own wider pool have.
    """
    if unlabelled:
        return
    for run in spec.lineage():
        if run.pool.name != "split":  # a wider pool is never empty
            continue
        made_by = part_class(run.kind, run.method.place)
        reads = getattr(made_by, "reads_unlabelled", None)
        if reads is None or reads(options_of(run.kind, run.method)):
            cut = run.title.removeprefix(f"{run.variant} ")
            raise UserError(
                f"{run.variant} learns from unlabelled images, and {cut} leaves none; choose a "
                "larger split, fewer data.labels_per_class, or data.unlabelled=FOLDER"
            )
