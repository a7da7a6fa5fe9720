"""The images with which a model is calibrated and tested: those of its own run and split."""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birds.core.randomness import stream
from birds.core.spec import RunSpec, UserError
from birds.core.store import RunFolder
from birds.data.module import NOISY
from birds.data.reopen import reopened
from birds.methods.classify._robustness import accuracy_under_noise, hits_under_noise
from birds.metrics.classification import classification_metrics
from birds.use.quantize.compare import compared
from birds.use.quantize.models import Classifier

BATCH, CALIBRATION_BATCH = 64, 32
PARTS = ("valid", "test")

Said = dict[str, NDArray[np.float32]]  # logits (N, S) by part


@dataclasses.dataclass(frozen=True)
class Order:
    """What to make: the backend, how many images calibrate, and where the images are now.

    data_root and cache_dir are only needed if they differ from the record.
    """

    backend: str = "onnxruntime"
    calibration: int = 256
    data_root: Path | None = None
    cache_dir: Path | None = None


class Evidence:
    """The images of a run, from the image cache, which is built if it is missing.

    calibration: the rows of the images for calibration; their labels are not used. They are
        unlabelled training images of the run's own cut, or labelled ones if the cut left none. They
        are drawn with the run's seed, as many as the order says, or all if there are fewer.
    label: the true classes of the validation and of the test part.

    Raises UserError when no calibration is asked for, or the images are missing or changed.
    """

    def __init__(self, folder: RunFolder, spec: RunSpec, order: Order) -> None:
        if order.calibration < 1:
            raise UserError(
                f"--calibration {order.calibration}: int8 needs images for its ranges; choose 1 or "
                "more, such as 256"
            )
        self.spec = spec
        self.data = reopened(folder, spec, order.data_root, order.cache_dir)
        self.rows = {part: self.data.rows[part] for part in PARTS}
        self.label = {part: self.data.label[rows] for part, rows in self.rows.items()}
        rows = self.data.rows["unlabelled"]
        if len(rows) == 0:
            rows = self.data.rows["labelled"]
        shuffled = stream(spec.seed, "calibration").permutation(len(rows))
        self.calibration = rows[np.sort(shuffled[: order.calibration])]

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of some rows, as an array in memory."""
        return np.ascontiguousarray(self.data.pixels[rows])

    def calibrating(self, most: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """The images for calibration, in batches; `most` limits them to the first ones."""
        rows = self.calibration[:most]
        for start in range(0, len(rows), CALIBRATION_BATCH):
            yield self.images(rows[start : start + CALIBRATION_BATCH])

    def calibrated_on(self) -> dict[str, Any]:
        """The number of images for calibration, and a digest of their contents."""
        content = "\n".join(self.data.images.content[row] for row in self.calibration)
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        return {"images": len(self.calibration), "digest": digest}

    def logits(self, classify: Classifier, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """A model's logits (N, S) for the images of some rows."""
        found = []
        for start in range(0, len(rows), BATCH):
            found.append(classify(self.images(rows[start : start + BATCH])))
        return np.concatenate(found)

    def said(self, classify: Classifier) -> Said:
        """A model's logits for the whole validation part and the whole test part."""
        return {part: self.logits(classify, rows) for part, rows in self.rows.items()}

    def measured(self, classify: Classifier, said: Said) -> dict[str, Any]:
        """Every metric of the record for a model, from its logits of each part."""
        found: dict[str, Any] = {}
        if self.spec.noise_levels:
            clean = said["test"].argmax(1) == self.label["test"]
            tested = np.isin(self.rows["test"], self.data.rows[NOISY])
            found |= self._under_noise(classify, clean[tested])
        for part, logits in said.items():
            label = torch.from_numpy(self.label[part])
            found |= classification_metrics(torch.from_numpy(logits), label, prefix=f"{part}_")
        return found

    def _under_noise(self, model: Classifier, clean: NDArray[np.bool_]) -> dict[str, Any]:
        """The accuracy under salt-and-pepper noise, on the test images of the record.

        `clean` (N,): correct or not without noise, for each of these images.
        """

        def classify(image: Tensor) -> Tensor:
            pixels = (255 * image).round().byte().permute(0, 2, 3, 1)
            return torch.from_numpy(model(pixels.contiguous().numpy()))

        levels, seed = self.spec.noise_levels, self.spec.data.seed
        hits = [torch.from_numpy(clean)[:, None]]
        noisy = []
        for batch in self.data.evaluation_batches(NOISY):
            noisy.append(hits_under_noise(classify, batch, levels, seed))
        hits.append(torch.cat(noisy))
        return accuracy_under_noise(torch.cat(hits, dim=1), levels)

    def against(self, original: Said, twin: Said) -> dict[str, Any]:
        """A twin compared with its original on the test part."""
        images = self.data.images
        ids = [images.ids[row] for row in self.rows["test"]]
        return compared(original["test"], twin["test"], self.label["test"], ids, images.classes)
