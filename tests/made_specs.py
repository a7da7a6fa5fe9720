"""The words of small runs, and jobs for them without a command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from birds.core.machine import Machine
from birds.core.spec import Part, RunSpec, Runtime
from birds.core.store import RunFolder
from birds.data.module import ImageData
from birds.encoders import create_encoder
from birds.methods import Job, create_method, load_method

SMALL = ("encoder.widths=[4,6,8]", "budget=smoke", "split=50")  # at 128 pixels
TINY = (  # at 16 pixels: enough to classify the striped images in seconds
    "image.size=16",
    "encoder=unet_xs",
    "encoder.widths=[8,12,16]",
    "budget=smoke",
    "split=50",
    "robustness_levels=[0.2]",
)
CPU = torch.device("cpu")


def quiet(words: str) -> None:
    """Print nothing."""


def runtime_in(root: Path, **choices: Any) -> Runtime:
    """A runtime on the CPU in full precision with everything under `root`."""
    usual: dict[str, Any] = {
        "runs_dir": root / "runs",
        "cache_dir": root / "cache",
        "source": Part(name="folder", options={"root": str(root)}),
        "tracking": "none",
        "device": "cpu",
        "precision": "32",
        "threads": 1,
    }
    return Runtime.model_validate(usual | choices)


def job_for(
    run: RunSpec, data: ImageData, root: Path, given: tuple[Any, ...] = (), **choices: Any
) -> Job:
    """The job of a run, with its folder under `root`."""
    torch.set_num_threads(1)
    runtime = runtime_in(root, **choices)
    folder = RunFolder(runtime.runs_dir, run)
    machine = Machine(CPU, runtime.precision, 1)
    return Job(run, data, given, folder, machine, runtime, quiet, lambda: False)


@contextlib.contextmanager
def claimed(job: Job) -> Iterator[Job]:
    """The job while its folder is claimed; otherwise it may not write there."""
    with job.folder.claimed(job.spec):
        yield job


def fitted(job: Job) -> tuple[Any, dict[str, Any]]:
    """A job's method after `fit` and `measure`, and the columns for the record."""
    method = create_method(job)
    with claimed(job):
        measured = method.fit(job)
        measured |= method.measure(job)
    return method, measured


def loaded(job: Job) -> Any:
    """The finished method of a job, loaded from its files."""
    return load_method(job.spec, job.folder, job.data.images.classes)


class Given:
    """A finished pretraining with the parts that classifiers use: an encoder with statistics."""

    def __init__(self, run: RunSpec) -> None:
        torch.manual_seed(1)
        self.encoder = create_encoder(run.encoder, run.image)
        for norm in self.encoder.modules():
            if hasattr(norm, "running_mean"):
                torch.nn.init.uniform_(norm.running_mean, 0, 0.1)


def given(run: RunSpec) -> tuple[Given, ...]:
    """The runs that a run needs, without training them."""
    return tuple(Given(needed) for needed in run.needs)
