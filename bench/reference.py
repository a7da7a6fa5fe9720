"""One cell of experiment 1 as a careful Lightning user would write it from a template: the
yardstick of our speed.

    python bench/reference.py --folder PHOTOS --split 70 --variant B1

PHOTOS holds train|valid|test/<species>/. Networks, cut, recipe (configs/) and number of steps are
those of `birds`; how they are fed and run is not: files are opened and augmented photo by photo in
two worker processes, numbers are fp32, the machine has its default threads, memory has the usual
layout, a frozen encoder sees every batch, and each job pretrains for itself. The last line of the
output is a JSON object with the test accuracy.

Where it could be written in two ways, the faster one was taken: no progress bar, no log, no sanity
check, the encoder once for both losses of a validation batch, geometry in Pillow and colours in
torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from birds.core.spec import ImageChoices
from birds.data.split import draw_split
from birds.encoders._pooling import mean_and_maximum
from birds.encoders.unet import PIXEL_MEAN, PIXEL_SPREAD, UNet
from birds.methods.classify.heads.linear import Linear
from birds.methods.decoder import Decoder

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SIZE, EVALUATION_BATCH, WORKERS = 128, 64, 2
EDGE = 16  # px mirrored around a photo before it is turned: no corner of it comes from farther out
Item = tuple[Tensor, int]


def choices(name: str) -> dict[str, Any]:
    """A file of configs/ as it stands, without Hydra."""
    values: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    return values


CONFIG, ENCODER = choices("config.yaml"), choices("encoder/unet_s.yaml")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How long and how fast one training goes: an entry of configs/budget/laptop.yaml."""

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    warmup: float
    patience: int
    augment: float
    patience_from: float = 0.0
    best_from: float = 0.0
    min_steps: int = 1


class Part(NamedTuple):
    """Photos and the species of each."""

    paths: list[Path]
    label: list[int]

    def at(self, rows: Sequence[int]) -> Part:
        """Some of them."""
        return Part([self.paths[k] for k in rows], [self.label[k] for k in rows])


def read_part(folder: Path, species: Sequence[str]) -> Part:
    """The photos of train, valid or test, by species and name."""
    found = [
        (path, k)
        for k, name in enumerate(species)
        for path in sorted((folder / name).glob("[!.]*"))
    ]
    return Part([path for path, _ in found], [k for _, k in found])


class PhotoFiles(Dataset[Item]):
    """Photos from their files, each time anew, as fractions (3, SIZE, SIZE), augmented where
    `strength` is not 0.
    """

    def __init__(self, part: Part, strength: float = 0.0) -> None:
        self.part = part
        self.strength = strength

    def __len__(self) -> int:
        return len(self.part.paths)

    def __getitem__(self, k: int) -> Item:
        with Image.open(self.part.paths[k]) as image:
            image.draft("RGB", (SIZE, SIZE))
            photo = ImageOps.fit(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.BICUBIC)
        if not self.strength:
            return as_tensor(photo), self.part.label[k]
        draw = torch.empty(8).uniform_(-1, 1).tolist()
        return recoloured(
            as_tensor(moved(photo, draw[:5], self.strength)), draw[5:], self.strength
        ), self.part.label[k]


def as_tensor(photo: Image.Image) -> Tensor:
    """A photo as fractions (3, H, W)."""
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1).contiguous().float().div_(255)


def moved(photo: Image.Image, draw: Sequence[float], strength: float) -> Image.Image:
    """The photo mirrored by chance, cropped and turned, as five numbers from -1 to 1 say."""
    flip = -1.0 if draw[0] < 0 else 1.0
    zoom = 1 + 0.35 * strength * (draw[1] + 1)
    cos, sin = (
        math.cos(0.25 * strength * draw[4]) / zoom,
        math.sin(0.25 * strength * draw[4]) / zoom,
    )
    half, room = SIZE / 2, 1 - 1 / zoom
    right, down = half * (1 + draw[2] * room) + EDGE, half * (1 + draw[3] * room) + EDGE
    rows = (
        flip * cos,
        -sin,
        right - half * (flip * cos - sin),
        flip * sin,
        cos,
        down - half * (flip * sin + cos),
    )
    wide = Image.fromarray(
        np.pad(np.asarray(photo), ((EDGE, EDGE), (EDGE, EDGE), (0, 0)), mode="symmetric")
    )
    return wide.transform((SIZE, SIZE), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)


def recoloured(photo: Tensor, draw: Sequence[float], strength: float) -> Tensor:
    """The photo (3, H, W) in another brightness, contrast and saturation, as three numbers from -1
    to 1 say.
    """
    brightness, contrast, saturation = (1 + 0.3 * strength * value for value in draw)
    grey = photo.mean(0, keepdim=True)
    mean = grey.mean()
    saturated = grey + saturation * (photo - grey)
    return (brightness * (mean + contrast * (saturated - mean))).clamp_(0, 1)


class Passes(Sampler[list[int]]):
    """Batches of an epoch: as many passes over the photos, each in its own order, as `min_steps`
    takes.
    """

    def __init__(self, photos: int, recipe: Recipe) -> None:
        self.photos = photos
        self.per_pass = math.ceil(photos / recipe.batch)
        self.passes = math.ceil(recipe.min_steps / self.per_pass)

    def __len__(self) -> int:
        return self.passes * self.per_pass

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.passes):
            yield from (
                part.tolist() for part in torch.randperm(self.photos).tensor_split(self.per_pass)
            )


class PlainEncoder(UNet):
    """The encoder without its hint to keep channels last in memory: the same numbers in the usual
    layout.
    """

    def forward(self, photo: Tensor) -> list[Tensor]:
        x = F.pixel_unshuffle((photo - PIXEL_MEAN) / PIXEL_SPREAD, self.stem)
        pyramid: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool2d(x, 2) if pyramid else x)
            pyramid.append(x)
        return pyramid


class Training(L.LightningModule):
    """What both trainings share: AdamW, a linear warm-up, a cosine to 0, by step; norms and biases
    do not decay.
    """

    def __init__(self, recipe: Recipe, steps: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps = steps

    def configure_optimizers(self) -> Any:
        every = [p for p in self.parameters() if p.requires_grad]
        kernels, vectors = [p for p in every if p.ndim > 1], [p for p in every if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": kernels},
            {"params": vectors, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=self.recipe.lr, weight_decay=self.recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate(self, step: int) -> float:
        """The fraction of the full learning rate at a step."""
        total = self.recipe.epochs * self.steps
        rise = max(1, round(self.recipe.warmup * total))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


class Autoencoder(Training):
    """Restores photos; half of them go without skip connections in training, validation is with and
    without.
    """

    def __init__(self, recipe: Recipe, steps: int, encoder: UNet) -> None:
        super().__init__(recipe, steps)
        self.encoder = encoder
        self.decoder = Decoder(encoder, CONFIG["skips"])

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        photo = batch[0]
        keep = torch.rand(len(photo), device=photo.device) >= CONFIG["skip_drop"]
        return F.mse_loss(self.decoder(self.encoder(photo), keep), photo)

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        photo = batch[0]
        pyramid = self.encoder(photo)
        without = torch.zeros(len(photo), dtype=torch.bool, device=photo.device)
        losses = [F.mse_loss(self.decoder(pyramid, keep), photo) for keep in (None, without)]
        self.log("valid_loss", (losses[0] + losses[1]) / 2, batch_size=len(photo))


class Classifier(Training):
    """Tells species apart with an encoder and a head; a frozen encoder stays in evaluation mode."""

    def __init__(
        self, recipe: Recipe, steps: int, encoder: UNet, species: int, frozen: bool
    ) -> None:
        super().__init__(recipe, steps)
        self.encoder = encoder.requires_grad_(not frozen)
        dropout = Linear.Options(dropout=CONFIG["dropout"])
        self.head = Linear(dropout, encoder.feature_dim, species)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        self.encoder.train(mode and not self.frozen)
        return self

    def forward(self, photo: Tensor) -> Tensor:
        logits: Tensor = self.head(mean_and_maximum(self.encoder(photo)))
        return logits

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1], label_smoothing=CONFIG["label_smoothing"])

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log("valid_loss", F.cross_entropy(self(batch[0]), batch[1]), batch_size=len(batch[1]))

    def test_step(self, batch: list[Tensor], index: int) -> None:
        accuracy = (self(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("test_accuracy", accuracy, batch_size=len(batch[1]))


def training_batches(part: Part, recipe: Recipe) -> DataLoader[Item]:
    """Batches of an epoch of training."""
    photos, order = PhotoFiles(part, recipe.augment), Passes(len(part.paths), recipe)
    return DataLoader(photos, batch_sampler=order, num_workers=WORKERS, persistent_workers=True)


def batches_in_order(part: Part) -> DataLoader[Item]:
    """Photos as they are."""
    return DataLoader(
        PhotoFiles(part), EVALUATION_BATCH, num_workers=WORKERS, persistent_workers=True
    )


class Best(ModelCheckpoint):
    """Keeps the weights of the best epoch, of those from the recipe's `best_from` on."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        recipe: Any = pl_module.recipe
        if trainer.current_epoch >= int(recipe.best_from * recipe.epochs):
            super().on_validation_end(trainer, pl_module)


def trained(
    task: Training, train: DataLoader[Item], valid: DataLoader[Item], folder: str
) -> L.Trainer:
    """Train to the end or until patience runs out, and load the weights of the best epoch."""
    recipe = task.recipe
    patience = recipe.patience + round(
        recipe.patience_from * recipe.epochs
    )  # stops no earlier than ours
    best = Best(folder, monitor="valid_loss", save_weights_only=True)
    trainer = L.Trainer(
        max_epochs=task.recipe.epochs,
        callbacks=[EarlyStopping("valid_loss", patience=patience), best],
        gradient_clip_val=1.0,
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, train, valid)
    task.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    return trainer


class Job(NamedTuple):
    """A cell of the experiment: its photos and how to train on them."""

    variant: str
    labelled: Part
    unlabelled: Part
    valid: Part
    test: Part
    species: int
    recipes: dict[str, Recipe]
    layout: type[UNet]

    def pretrained(self, encoder: UNet) -> UNet:
        """The encoder after pretraining on the unlabelled photos."""
        recipe = self.recipes["pretrain"]
        train = training_batches(self.unlabelled, recipe)
        with tempfile.TemporaryDirectory() as folder:
            trained(
                Autoencoder(recipe, len(train), encoder),
                train,
                batches_in_order(self.valid),
                folder,
            )
        return encoder

    def classified(self, encoder: UNet) -> float:
        """Test accuracy after training a classifier on the labelled photos."""
        frozen = self.variant == "B1"
        recipe = self.recipes["frozen" if frozen else "classify"]
        train = training_batches(self.labelled, recipe)
        task = Classifier(recipe, len(train), encoder, self.species, frozen)
        with tempfile.TemporaryDirectory() as folder:
            trainer = trained(task, train, batches_in_order(self.valid), folder)
        found = trainer.test(task, batches_in_order(self.test), verbose=False)
        return float(found[0]["test_accuracy"])

    def result(self) -> dict[str, float]:
        """Test accuracy and the seconds of its stages."""
        began = time.perf_counter()
        choices_of_unet = {name: ENCODER[name] for name in ("stem", "widths", "norm")}
        options = UNet.Options.model_validate(choices_of_unet)
        encoder = self.layout(options, ImageChoices(size=SIZE))
        if self.variant != "A":
            encoder = self.pretrained(encoder)
        between = time.perf_counter()
        accuracy = self.classified(encoder)
        ended = time.perf_counter()
        return {
            "test_accuracy": accuracy,
            "pretrain_seconds": between - began,
            "classify_seconds": ended - between,
        }


def read_job(asked: argparse.Namespace) -> Job:
    """What was asked for, with its photos; the cut is that of `birds`."""
    species = sorted(path.name for path in (asked.folder / "train").iterdir() if path.is_dir())
    train, valid, test = (
        read_part(asked.folder / part, species) for part in ("train", "valid", "test")
    )
    rows = np.arange(len(train.paths))
    cut = draw_split(
        rows, np.array(train.label), split=asked.split, seed=asked.seed, classes=species
    )
    labelled, unlabelled = train.at(cut.labelled.tolist()), train.at(cut.unlabelled.tolist())
    budget = choices("budget/laptop.yaml")
    recipes = {name: Recipe(**budget[name]) for name in ("pretrain", "classify", "frozen")}
    epochs = {name: getattr(asked, f"epochs_{name}") for name in recipes}
    recipes = {
        name: dataclasses.replace(r, epochs=epochs[name] or r.epochs) for name, r in recipes.items()
    }
    layout = UNet if asked.channels_last else PlainEncoder
    return Job(asked.variant, labelled, unlabelled, valid, test, len(species), recipes, layout)


def main() -> None:
    """Do the job and print its result."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument(
        "--folder", type=Path, required=True, help="train|valid|test/<species>/ with photos"
    )
    command.add_argument(
        "--split", type=int, default=90, help="per cent of the training photos without labels"
    )
    command.add_argument("--variant", choices=("A", "B1", "B2"), default="A")
    for stage in ("pretrain", "classify", "frozen"):
        command.add_argument(f"--epochs-{stage}", type=int, help="default: that of budget=laptop")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--channels-last", action="store_true", help="the encoder with our memory layout"
    )
    asked = command.parse_args()
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    L.seed_everything(asked.seed, workers=True, verbose=False)
    told = {"split": asked.split, "variant": asked.variant, "seed": asked.seed}
    print(json.dumps(told | read_job(asked).result()))


if __name__ == "__main__":
    main()
