"""A classifier whose head is fitted by scikit-learn on the features of a frozen encoder.

It has no epochs. The encoder's weights and the training features of the head are saved. Loading
fits the head again, which gives the same head and runs no code from a file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from birds.core.checkpoint import saved_weights
from birds.core.parts import options_of
from birds.core.spec import RunSpec, UserError
from birds.core.store import RunFolder, write_atomically
from birds.data.module import NOISY
from birds.encoders import blank_encoders, create_encoder, seeded_encoder
from birds.methods import Job
from birds.methods.classify._balance import class_weights, oversampled
from birds.methods.classify._network import Network
from birds.methods.classify._predictions import Predictions, measured_predictions
from birds.methods.classify.heads import LEAST, create_head
from birds.methods.encode_choice import way_of
from birds.methods.encoding import encode_record
from birds.methods.features import features_of
from birds.metrics.cost import forward_flops, parameter_counts, peak_memory_mb

PARTS = ("labelled", "valid", "test")


class FittedClassifier(nn.Module):
    """A frozen encoder and a fitted head.

    Args:
        spec: the classifier's run.
        classes: the names of the classes.
        steps_per_epoch: not used; every classifier is made with the same arguments.
        job: the run's data and the runs it builds on; None for a classifier that will be loaded.
    """

    head_alone = True

    def __init__(
        self, spec: RunSpec, classes: Sequence[str], steps_per_epoch: int, job: Job | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.classes = tuple(classes)
        self.choices: Any = options_of("classifier", spec.method)
        if job is not None and self.choices.start == "run":
            self.encoder = _pretrained(spec, job.given[0].encoder)
        elif job is not None:
            self.encoder = seeded_encoder(spec)
        else:
            self.encoder = create_encoder(spec.encoder, spec.image)
        self.encoder.requires_grad_(False).eval()
        self.head = create_head(self.choices.head, self.encoder.feature_dim, len(classes))
        self._features: dict[str, NDArray[np.float32]] = {}
        self._correction: NDArray[np.float32] | None = None

    @classmethod
    def load(cls, spec: RunSpec, folder: RunFolder, classes: Sequence[str]) -> FittedClassifier:
        """The finished classifier. Raises UserError when its saved training features
        are missing.
        """
        classifier = cls(spec, classes, 1)
        classifier.load_state_dict(saved_weights(folder))
        try:
            with np.load(folder.features_file, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files}
                classifier._fit_head(arrays)
        except (OSError, ValueError, KeyError):
            raise UserError(
                f"{folder.features_file}, the training features of run {folder.key}, is missing or "
                f"incomplete: remove {folder.record_file} and start the run again with train.py"
            ) from None
        return classifier

    def _fit_head(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Fit the head on the arrays that are saved: the same arrays give the same head."""
        features, label = arrays["features"], arrays["label"]
        extra: dict[str, Any] = {}
        if "unlabelled" in arrays:
            extra["unlabelled"] = arrays["unlabelled"]
        if "valid" in arrays:
            extra["valid"] = (arrays["valid"], arrays["valid_label"])
        if self.choices.balance == "sampling":
            rows = oversampled(label, self.spec.seed)
            features, label = features[rows], label[rows]
        elif self.choices.balance == "weights":
            weights = class_weights(label, len(self.classes))
            if getattr(self.head, "takes_weights", False):
                extra["weight"] = weights[label]
            else:
                self._correction = np.log(np.maximum(weights, LEAST)).astype(np.float32)
        self.head.fit(features, label, self.spec.seed, **extra)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The head's scores (N, S) of features (N, F); corrected for class sizes if its fit takes
        no weights.
        """
        found: NDArray[np.float32] = self.head.scores(features)
        return found if self._correction is None else found + self._correction

    def as_network(self) -> Network:
        """The encoder and the head as one network, for heads with `has_network`."""
        head: Any = self.head.network()
        if self._correction is not None:  # only of heads that are one linear layer
            head.bias.data += torch.from_numpy(self._correction)
        return Network(self.encoder, head).requires_grad_(False).eval()

    def latent(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """The latent vectors of images, whose pixels are fractions (0 to 1)."""
        vectors: Tensor = self.encoder.latent_of(self.encoder(image))
        return vectors

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B S"]:
        """The scores of images, whose pixels are fractions (0 to 1)."""
        features = self.encoder.features(image).float().cpu().numpy()
        return torch.from_numpy(self.scores(features))

    def fit(self, job: Job) -> dict[str, Any]:
        """Encode every image once, fit the head on the labelled ones, and save both."""
        started = time.perf_counter()
        job.watch.begin("train")
        job.folder.report(state="running", epoch=0, epochs=0)
        for part in PARTS:
            self._features[part] = features_of(self.encoder, job, part)
        label = job.data.label[job.data.rows["labelled"]]
        arrays = {"features": self._features["labelled"], "label": label}
        if getattr(self.head, "learns_from_unlabelled", False):
            arrays["unlabelled"] = features_of(self.encoder, job, "unlabelled")
        if getattr(self.head, "judges_by_validation", False):
            arrays["valid"] = self._features["valid"]
            arrays["valid_label"] = job.data.label[job.data.rows["valid"]]
        self._fit_head(arrays)
        job.folder.assert_mine()
        write_atomically(job.folder.features_file, partial(np.savez_compressed, **arrays))
        weights = {"state_dict": self.state_dict(), "epoch": 0}
        best = job.folder.checkpoint("best")
        best.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(best, partial(torch.save, weights))
        if note := getattr(self.head, "note", ""):
            job.say(note)
        seconds = time.perf_counter() - started
        job.say(f"fitted on {len(label)} labelled images in {seconds:.0f}s")
        return {"epochs": 0, "cost_seconds": seconds, "compiled": False}

    def measure(self, job: Job) -> dict[str, Any]:
        """Metrics of the test, validation and labelled images, and of the test under noise."""
        predicted: Predictions = {}
        for part in PARTS:
            rows = torch.from_numpy(job.data.rows[part])
            predicted[part] = {
                "logits": torch.from_numpy(self.scores(self._features[part])),
                "label": torch.from_numpy(job.data.label[job.data.rows[part]]),
                "row": rows,
            }
        job.watch.begin("noise")
        hits = self._noisy_hits(job) if job.spec.noise_levels else None
        job.watch.begin("save")
        measured = measured_predictions(predicted, hits, job)
        image = job.spec.image
        shape = (image.channels, image.size, image.size)
        encoder: Any = self.encoder.to(job.machine.device)
        flops = 0 if encoder.by_id else forward_flops(encoder, shape, job.machine.device)
        return {
            **measured,
            **self._unseen(),
            **encode_record(self.encoder, way_of(self.encoder, job)),
            **parameter_counts(encoder),
            "cost_flops_per_image": flops,
            **peak_memory_mb(job.machine.device),
        }

    def _unseen(self) -> dict[str, int]:
        """The number of images without any keypoint, for encoders that look for keypoints."""
        if not self.encoder.own_size:
            return {}
        counts = [int((~features.any(axis=1)).sum()) for features in self._features.values()]
        return {"images_without_keypoint": sum(counts)}

    def _noisy_hits(self, job: Job) -> Tensor:
        label = job.data.label[job.data.rows[NOISY]]
        hits = []
        for level in job.spec.noise_levels:
            scores = self.scores(features_of(self.encoder, job, NOISY, noise=level))
            hits.append(torch.from_numpy(scores.argmax(1) == label))
        return torch.stack(hits, dim=1)


def _pretrained(spec: RunSpec, given: Any) -> Any:
    """The encoder of a pretraining, with the run's own values for the options that heads may
    choose.
    """
    if spec.encoder == spec.needs[0].encoder:
        return given
    with blank_encoders():
        encoder = create_encoder(spec.encoder, spec.image)
    encoder.load_state_dict(given.state_dict())
    return encoder
