"""A vocabulary of visual words: centres of the unlabelled images' local descriptors.

MiniBatchKMeans of scikit-learn (Sculley 2010, 10.1145/1772690.1772862). Descriptors of bits are
clustered as vectors of zeros and ones, whose squared distance is the number of unequal bits; a word
has the bits that most of its members have (k-majority; Grana et al. 2013, 10.1117/12.2008460).

It has no gradient and no epochs. Heads, matchers and pyramids share it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from birds.core.checkpoint import saved_weights
from birds.core.parts import options_of, part_class
from birds.core.randomness import stream, stream_seed
from birds.core.spec import Choices, RunSpec, UserError
from birds.core.store import RunFolder, write_atomically
from birds.encoders import create_encoder, seeded_encoder
from birds.methods import Job
from birds.methods.descriptions import Descriptions, described
from birds.methods.features import images_described
from birds.metrics.cost import parameter_counts, peak_memory_mb

LOOKED_AT = 20_000  # how many descriptors the distance to the nearest word is measured on


class Vocabulary(nn.Module):
    """An encoder whose words are fitted.

    Args:
        spec: the pretraining run.
        steps_per_epoch: not used; every pretraining is made with the same arguments.
        after: always None: a vocabulary cannot start from another pretraining.
    """

    class Options(Choices):
        """descriptors: how many are clustered at most, drawn from all; images: the unlabelled
        training images, or `all` training images, whose labels are not used either; starts: how
        many random choices of first centres are compared; rounds: the most passes over all
        descriptors.
        """

        descriptors: Annotated[int, Field(ge=10)] = 100_000
        images: Literal["unlabelled", "all"] = "unlabelled"
        starts: Annotated[int, Field(ge=1, le=100)] = 1
        rounds: Annotated[int, Field(ge=1, le=10_000)] = 20

    def __init__(self, spec: RunSpec, steps_per_epoch: int, after: Any = None) -> None:
        super().__init__()
        self.spec = spec
        self.choices: Any = options_of("pretraining", spec.method)
        self.encoder: Any = seeded_encoder(spec)

    @classmethod
    def section(cls, options: Any) -> str | None:
        """None: no section of a budget sets how long it takes."""
        return None

    @classmethod
    def reads_unlabelled(cls, options: Any) -> bool:
        """Whether it needs unlabelled images; then it also uses those of a wider pool."""
        return bool(options.images == "unlabelled")

    @classmethod
    def check(cls, options: Any, spec: RunSpec) -> None:
        """Raise ValueError for encoders without words, and for a pretraining to start from."""
        if not hasattr(part_class("encoder", spec.encoder.place), "take_vocabulary"):
            raise ValueError(
                f"pretraining={spec.variant} fits visual words, and encoder={spec.encoder.name} "
                "has none; choose encoder=words, or another pretraining"
            )
        if spec.needs:
            raise ValueError(
                f"pretraining={spec.variant} cannot continue another pretraining; leave out "
                "pretraining.after"
            )

    @classmethod
    def load(cls, spec: RunSpec, folder: RunFolder, classes: Sequence[str] = ()) -> Vocabulary:
        """The finished vocabulary. Raises UserError when its checkpoint is missing."""
        method = cls(spec, 1)
        method.encoder = create_encoder(spec.encoder, spec.image)
        method.load_state_dict(saved_weights(folder))
        return method.eval()

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """The word histograms of images, whose pixels are fractions (0 to 1)."""
        outputs: list[Tensor] = self.encoder(image)
        return outputs

    def latent(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """The word histograms of images as one vector each."""
        return self.encoder.latent_of(self.encoder(image))  # type: ignore[no-any-return]

    def fit(self, job: Job) -> dict[str, Any]:
        """Cluster the descriptors and save the words."""
        started = time.perf_counter()
        job.folder.report(state="running", epoch=0, epochs=0)
        seen = self._descriptions(job)
        random = stream(self.spec.seed, "descriptors")
        values = np.concatenate([part.drawn(self._share(part, seen), random) for part in seen])
        without = sum(int((part.counts == 0).sum()) for part in seen)
        self._refuse_few(len(values), sum(map(len, seen)), without)
        described_in = time.perf_counter() - started
        words = centres(values, self.encoder, self.choices, self.spec.seed)
        self.encoder.take_vocabulary(words, 0.0)
        distance = self.encoder.nearest_distances(values[:: -(-len(values) // LOOKED_AT)])
        self.encoder.take_vocabulary(words, float(distance.mean()))
        job.folder.assert_mine()
        best = job.folder.checkpoint("best")
        best.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(best, partial(torch.save, {"state_dict": self.state_dict(), "epoch": 0}))
        seconds = time.perf_counter() - started
        job.say(
            f"{len(words)} words of {len(values)} descriptors in {seconds:.0f}s, "
            f"{described_in:.0f}s of them to describe images"
        )
        return {
            "epochs": 0,
            "compiled": False,
            "cost_seconds": seconds,
            "cost_describe_seconds": described_in,
            "words_descriptors": len(values),
            "words_distance": float(distance.mean()),
            "images_without_keypoint": without,
        }

    def _descriptions(self, job: Job) -> list[Descriptions]:
        rows = job.data.rows["unlabelled"]
        if self.choices.images == "all":
            rows = np.union1d(rows, job.data.rows["labelled"])
        return images_described(self.encoder, job, rows)

    def _share(self, part: Descriptions, seen: Sequence[Descriptions]) -> int:
        """How many descriptors are drawn from one source of images, in proportion to its
        descriptors.
        """
        total = sum(int(each.counts.sum()) for each in seen)
        share = int(part.counts.sum()) / max(1, total)
        return round(share * int(self.choices.descriptors))

    def _refuse_few(self, descriptors: int, images: int, without: int) -> None:
        words: int = self.encoder.options.words
        if descriptors >= words:
            return
        seen = f"{descriptors} descriptors of encoder.descriptor={self.encoder.options.descriptor}"
        raise UserError(
            f"encoder.words={words}: {images} images give {seen} ({without} of them give none); "
            "choose fewer words, more images, pretraining.descriptors above the number of words, "
            "or encoder.descriptor=dense_sift, which describes every image"
        )

    def measure(self, job: Job) -> dict[str, Any]:
        """The mean distance of validation and test descriptors from their nearest word."""
        measured: dict[str, Any] = {}
        for part in ("valid", "test"):
            seen = described(self.encoder, job, job.data.rows[part])
            values = seen.drawn(LOOKED_AT, stream(self.spec.seed, "looked at"))
            if len(values):
                distance = float(self.encoder.nearest_distances(values).mean())
                measured[f"{part}_word_distance"] = distance
        return {
            **measured,
            **parameter_counts(self),
            **peak_memory_mb(job.machine.device),
        }


def centres(values: NDArray[Any], encoder: Any, choices: Any, seed: int) -> NDArray[np.float32]:
    """The words (W, D) of descriptors (S, D). Words of bits are packed in bytes, like
    descriptors.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    binary = encoder.kind.binary
    points = np.unpackbits(values, axis=1) if binary else values
    kmeans = MiniBatchKMeans(
        encoder.options.words,
        batch_size=4096,
        n_init=choices.starts,
        max_iter=choices.rounds,
        random_state=stream_seed(seed, "vocabulary") % 2**32,
    )
    with warnings.catch_warnings():  # with few distinct descriptors, some words are equal
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans.fit(points.astype(np.float32))
    found: NDArray[np.float32] = kmeans.cluster_centers_.astype(np.float32)
    if not binary:
        return found
    return np.packbits(found >= 0.5, axis=1).astype(np.float32)
