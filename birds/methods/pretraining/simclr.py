"""Contrastive pretraining: find the two views of the same image among many views, without a
decoder.

SimCLR, Chen et al. (2020, arXiv:2002.05709). It contrasts a projection of the features that a head
would use; the projection is discarded afterwards. Each augmented image of an epoch gets two more
random views, which depend only on (seed, step, place).
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from birds.core.parts import options_of
from birds.core.randomness import stream_seed
from birds.core.spec import Choices, RunSpec
from birds.data.augmentation import augment, view_parameters
from birds.data.module import Batch
from birds.encoders import seeded_encoder
from birds.methods import Job
from birds.methods.compiling import compile_where_it_pays
from birds.methods.gradient import GradientPretraining

HIDDEN, PROJECTED = 256, 64


class SimCLR(GradientPretraining):
    """An encoder and its projection.

    Args:
        spec: the pretraining run.
        steps_per_epoch: for the length of the schedule.
        after: the pretraining whose encoder it starts from, if any.
    """

    class Options(Choices):
        """temperature: what cosines between views are divided by; strength: of the two views."""

        temperature: Annotated[float, Field(ge=0.01, le=1)] = 0.2
        strength: Annotated[float, Field(ge=0, le=2)] = 1.5

    def __init__(self, spec: RunSpec, steps_per_epoch: int, after: Any = None) -> None:
        super().__init__()
        self.spec = spec
        self.steps_per_epoch = steps_per_epoch
        self.choices: Any = options_of("pretraining", spec.method)
        self.encoder = seeded_encoder(spec)
        features = self.encoder.feature_dim
        self.projection = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, PROJECTED),
        )
        if after is not None:
            self.encoder.load_state_dict(after.encoder.state_dict())
        self._found: dict[str, list[Tensor]] = {}

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """The projection of each image, which is contrasted with the others."""
        projected: Tensor = self.projection(self.encoder.features(image))
        return projected

    def before_fit(self, job: Job) -> bool:
        """Compile the encoder if that is faster; returns whether it was compiled."""
        return compile_where_it_pays(self.encoder, job)

    def _two_looks(self, image: Tensor, purpose: str, step: int) -> tuple[Tensor, Tensor]:
        seed = stream_seed(self.spec.seed, purpose)
        looks = self.spec.data.looks
        projections = []
        for k in range(2):
            table = view_parameters(
                seed, 2 * step + k, len(image), self.choices.strength, looks=looks
            )
            projections.append(self(augment(image, torch.from_numpy(table).to(image.device))))
        return projections[0], projections[1]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        first, second = self._two_looks(batch["image"], "contrast", self.global_step)
        loss = contrast(first, second, self.choices.temperature)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["image"]))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        first, second = self._two_looks(batch["image"], "evaluate", index)
        loss = contrast(first, second, self.choices.temperature)
        self.log("valid_loss", loss, batch_size=len(batch["image"]))

    def on_test_epoch_start(self) -> None:
        self._found = {}

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        looks = self._two_looks(batch["image"], "evaluate", index)
        count = len(batch["image"])
        found = similarities(*looks).argmax(1) == partners(count, self.device)
        self._found.setdefault(("test", "valid")[dataloader_idx], []).append(found.cpu())

    def tested(self, job: Job) -> dict[str, Any]:
        """How often the most similar view is the other view of the same image, 0 to 1."""
        return {
            f"{part}_partner_found": torch.cat(found).double().mean().item()
            for part, found in self._found.items()
        }


def similarities(a: Float[Tensor, "B D"], b: Float[Tensor, "B D"]) -> Float[Tensor, "2B 2B"]:
    """The cosines between all views, first those of `a`, then those of `b`.

    The diagonal, a view with itself, is -inf.
    """
    looks = F.normalize(torch.cat([a, b]).float(), dim=1)
    return (looks @ looks.T).fill_diagonal_(-torch.inf)


def partners(images: int, device: torch.device) -> Tensor:
    """For each of the 2 x `images` views, the index of the other view of its image."""
    return torch.arange(2 * images, device=device).roll(images)


def contrast(
    a: Float[Tensor, "B D"], b: Float[Tensor, "B D"], temperature: float
) -> Float[Tensor, ""]:
    """The cross entropy of finding, for each view, the other view of its image among all views.

    It is log(2B - 1) when all views look alike.
    """
    return F.cross_entropy(similarities(a, b) / temperature, partners(len(a), a.device))
