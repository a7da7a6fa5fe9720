"""A finished run with its images, their features and its predictions."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from birds.core.files import remember_files
from birds.core.machine import resolve
from birds.core.spec import Part, RunSpec, Runtime
from birds.core.store import RunFolder
from birds.data.module import ImageData
from birds.data.reopen import reopened
from birds.methods import Job
from birds.methods.features import features_of
from birds.use.calibration import calibration_of, softmax
from birds.use.networks import load_classifier


@dataclasses.dataclass(frozen=True)
class ScoredRun:
    """A finished classifier together with the images of its run."""

    folder: RunFolder
    spec: RunSpec
    classifier: Any
    data: ImageData
    job: Job

    @property
    def root(self) -> Path:
        """The folder of the images."""
        return Path(self.data.images.source.place)

    @property
    def unlabelled(self) -> NDArray[np.int64]:
        """The rows of the images that are unlabelled in the run's cut."""
        return self.data.rows["unlabelled"]

    def features(self, part: str) -> NDArray[np.float32]:
        """The pooled features (N, F) of the images of a part."""
        return features_of(self.classifier.encoder, self.job, part)

    def probability(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The calibrated probabilities (N, S) of images, from their features (N, F)."""
        head = (
            self.classifier.head.cpu()
            if isinstance(self.classifier.head, torch.nn.Module)
            else None
        )
        if head is None:
            scores = self.classifier.head.scores(features)
        else:
            with torch.no_grad():
                scores = head(torch.from_numpy(features)).float().numpy()
        return softmax(scores, calibration_of(self.folder, 0.0).temperature)


def scored_run(folder: RunFolder, data_root: Path | None = None) -> ScoredRun:
    """A finished classifier with the images that it was trained on.

    Raises UserError if the run is no finished classifier, or if its images are missing or changed.
    """
    classifier, spec, _ = load_classifier(folder)
    record = folder.record()
    recorded = record.model_dump() if record else {}
    remember_files(
        {name: Path(place) for name, place in (recorded.get("runtime.files") or {}).items()}
    )
    data = reopened(folder, spec, data_root)
    cached = Path(str(recorded.get("runtime.cache_dir")))
    runtime = Runtime(
        runs_dir=folder.path.parent,
        cache_dir=cached if cached.is_dir() else folder.path.parent / "cache",
        source=Part(name="folder"),
        precision=recorded.get("precision", "auto"),
        encode=recorded.get("encode", "eager"),
        device=recorded.get("device", "cpu") if torch.cuda.is_available() else "cpu",
    )
    job = Job(spec, data, (), folder, resolve(runtime), runtime, _say, lambda: False)
    return ScoredRun(folder, spec, classifier, data, job)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
