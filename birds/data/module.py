"""The images of one run as batches, read from the shared cache and augmented on the device.

Pretraining uses unlabelled training images, classifiers labelled ones. Order and augmentation of an
epoch depend only on (seed, epoch), so a resumed run sees the same images.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from birds.core.randomness import stream
from birds.core.spec import RunSpec
from birds.data.augmentation import augment, to_float, view_parameters
from birds.data.decode import Look
from birds.data.images import Images
from birds.data.split import Split

Batch = dict[str, Tensor]
Places = list[tuple[int, int]]  # (view, position in the part) of each image of a batch
EVALUATION_BATCH = 64
NOISY = "noisy"  # test images a second time, always as images, for the test under noise


class ImageData(L.LightningDataModule):
    """Batches for one run.

    A batch is a dict: image (B, C, H, W) or feature (B, F), label (B,), row (B,).

    Args:
        spec: the run.
        images: the data set.
        pixels: its decoded images, uint8 (N, H, W, C).
        split: the split of its training images.
        accumulate: the number of parts of each batch, to save memory; a part never has only one
            image.
        pool: decoded extra unlabelled images, if any; their rows follow those of `images`.
        pool_images: the data set of the extra images.
    """

    def __init__(
        self,
        spec: RunSpec,
        images: Images,
        pixels: NDArray[np.uint8],
        split: Split,
        accumulate: int = 1,
        pool: NDArray[np.uint8] | None = None,
        pool_images: Images | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.images = images
        self.pixels = pixels
        self.pool = pixels[:0] if pool is None else pool
        self.pool_images = pool_images
        self.label = np.append(images.label, np.full(len(self.pool), -1))
        unlabelled = np.append(split.unlabelled, np.arange(len(images.label), len(self.label)))
        classifies = spec.stage == "classify"
        self.rows = {
            "train": split.labelled if classifies else unlabelled,
            "valid": images.rows("valid"),
            "test": images.rows("test"),
            NOISY: images.rows("test"),
            "labelled": split.labelled,
            "unlabelled": unlabelled,
        }
        self.test_parts = ["test", "valid"]
        if classifies:
            self.test_parts += ["labelled", *[NOISY] * bool(spec.noise_levels)]
        self._features: dict[str, Float[Tensor, "V N F"]] | None = None
        self._balanced = False
        self._resident: UInt8[Tensor, "N H W C"] | None = None
        self._plan_epochs(accumulate)

    def train_on(self, *parts: str) -> None:
        """Train on the images of these parts together, with their rows in ascending order."""
        self.rows["train"] = np.sort(np.concatenate([self.rows[part] for part in parts]))
        self._plan_epochs(self.accumulate)

    def keep_unlabelled(self, kept: NDArray[np.bool_]) -> None:
        """Keep only the unlabelled images where `kept` (N,) is true, in the order of their rows."""
        self.rows["unlabelled"] = self.rows["unlabelled"][kept]
        if self.spec.stage != "classify":
            self.rows["train"] = self.rows["unlabelled"]
        self._plan_epochs(self.accumulate)

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """The names of the images in these rows, including extra unlabelled images."""
        pool = self.pool_images.ids if self.pool_images else ()
        return [(*self.images.ids, *pool)[row] for row in rows]

    def _plan_epochs(self, accumulate: int) -> None:
        """Set the number of passes and steps of an epoch, and the number of parts of a batch."""
        training, count = self.spec.training, len(self.rows["train"])
        self.batch_size = training.batch if training else EVALUATION_BATCH
        self.augmentation = training.augment if training else 0.0
        per_pass = max(1, math.ceil(count / self.batch_size))
        self.accumulate = max(1, min(accumulate, count // per_pass // 2))
        self.passes = math.ceil((training.min_steps if training else 1) / per_pass)
        steps = self.passes * per_pass
        most = training.max_steps if training else None
        self.steps_per_epoch = min(steps, most or steps)

    def balance(self) -> None:
        """From now on, show every class of the training images equally often."""
        self._balanced = True

    def _order(self, number: int) -> NDArray[np.int64]:
        """The positions of a pass, (N,): each image once, or, if balanced, each class equally
        often.
        """
        count = len(self.rows["train"])
        random = stream(self.spec.seed, "order", number)
        if not self._balanced:
            return random.permutation(count)
        label = self.label[self.rows["train"]]
        drawn = []
        shares = np.array_split(np.arange(count), len(np.unique(label)))
        for share, own in zip(shares, random.permutation(np.unique(label)), strict=True):
            order = random.permutation(np.flatnonzero(label == own))
            drawn.append(np.resize(order, len(share)))
        return random.permutation(np.concatenate(drawn))

    def views_of_epoch(self, epoch: int) -> list[int]:
        """The number of the view in each pass of an epoch."""
        shown = range(epoch * self.passes, (epoch + 1) * self.passes)
        cycle = self.spec.views
        return [view % cycle if cycle else view for view in shown]

    def train_dataloader(self) -> DataLoader[Batch]:
        """One epoch of the training images, in the order of that epoch.

        A batch of a single image contains it twice, because BatchNorm needs two.
        """
        epoch = self.trainer.current_epoch if self.trainer else 0
        batches: list[Places] = []
        for number, view in enumerate(self.views_of_epoch(epoch), epoch * self.passes):
            order = self._order(number)
            for part in np.array_split(order, math.ceil(len(order) / self.batch_size)):
                chosen = np.repeat(part, 2) if len(part) == 1 else part
                batches.append([(view, int(k)) for k in chosen])
        parts: list[Places] = []
        for batch in batches[: self.steps_per_epoch]:
            parts += [batch[k :: self.accumulate] for k in range(self.accumulate)]
        return self._loader("train", parts)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images in order, without augmentation."""
        return self._loader("valid", self._in_order("valid"))

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """The parts on which the best checkpoint is tested, in the order of `test_parts`."""
        return [self._loader(part, self._in_order(part)) for part in self.test_parts]

    def _in_order(self, part: str) -> list[Places]:
        count = len(self.rows[part])
        plan: list[Places] = []
        for low in range(0, count, EVALUATION_BATCH):
            plan.append([(0, k) for k in range(low, min(low + EVALUATION_BATCH, count))])
        return plan

    def _loader(self, part: str, plan: Any) -> DataLoader[Batch]:
        return DataLoader(plan, batch_size=None, collate_fn=partial(self.batch, part))

    @property
    def images_per_epoch(self) -> int:
        """The number of images of an epoch, repetitions included, in whole batches."""
        count = len(self.rows["train"])
        full = math.ceil(count / self.batch_size) * self.passes
        return round(self.passes * count * self.steps_per_epoch / max(1, full))

    def batch(self, part: str, places: Places) -> Batch:
        """A batch on the CPU with the images at `places`, pairs of (view, position in the part)."""
        view, position = (np.array(column) for column in zip(*places, strict=True))
        rows = self.rows[part][position]
        batch: Batch = {"row": torch.from_numpy(rows), "label": torch.from_numpy(self.label[rows])}
        if self._features is not None and part in self._features:
            return batch | {"feature": self._features[part][view, position]}
        if self._resident is None:
            batch["image"] = torch.from_numpy(self.decoded(rows)).permute(0, 3, 1, 2)
        if part in ("train", "unlabelled") and self.augmentation:
            batch["look"] = torch.from_numpy(self._looks(part, view, position))
        return batch

    def keep_on(self, device: torch.device) -> None:
        """Keep the images on this device if they need at most half of its free memory."""
        size = self.pixels.nbytes + self.pool.nbytes
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
        if size <= free / 2:
            parts = [torch.tensor(part, device=device) for part in (self.pixels, self.pool)]
            self._resident = torch.cat(parts)

    def decoded(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images (B, H, W, C) in these rows, including extra unlabelled images."""
        own = rows < len(self.pixels)
        if own.all():
            return self.pixels[rows]
        gathered = np.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        gathered[own] = self.pixels[rows[own]]
        gathered[~own] = self.pool[rows[~own] - len(self.pixels)]
        return gathered

    def _place_of(self, row: int) -> tuple[Images, int]:
        """The data set of a row, and its row in that data set."""
        own = len(self.images.ids)
        if row < own:
            return self.images, row
        assert self.pool_images is not None
        return self.pool_images, row - own

    def content(self, row: int) -> str:
        """The hash of an image's content, also for extra unlabelled images."""
        images, own_row = self._place_of(row)
        return images.content[own_row]

    def at_own_size(self, row: int, channels: int) -> UInt8[np.ndarray, "h w c"]:
        """An image in its own size, decoded again. Raises UserError if it can no longer be read."""
        images, own_row = self._place_of(row)
        return images.source.decode(images.ids[own_row], Look(None, channels))

    def unlabelled(
        self, step: int, device: torch.device, *, plain: bool = False, ratio: int = 1
    ) -> Batch:
        """`ratio` batches of unlabelled images for one step, augmented unless `plain`."""
        order = stream(self.spec.seed, "beside", step).permutation(len(self.rows["unlabelled"]))
        places = [(step, int(k)) for k in order[: ratio * self.batch_size]]
        batch = self.batch("unlabelled", places)
        kept = ("image", "row") if plain else ("image", "row", "look")
        moved = {name: value.to(device) for name, value in batch.items() if name in kept}
        return self.on_after_batch_transfer(moved, 0)

    def _looks(
        self, part: str, view: NDArray[np.int64], position: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        count, looks = len(self.rows[part]), self.spec.data.looks
        rows = []
        for v, k in zip(view, position, strict=True):
            table = view_parameters(self.spec.seed, int(v), count, self.augmentation, looks=looks)
            rows.append(table[k])
        return np.stack(rows)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale to 0..1 and augment, on the device of the batch."""
        if self._resident is not None and "feature" not in batch:
            image = self._resident[batch["row"].to(self._resident.device)].permute(0, 3, 1, 2)
            batch["image"] = image.to(batch["row"].device)
        if "image" in batch:
            batch["image"] = to_float(batch["image"])
            if "look" in batch:
                batch["image"] = augment(batch["image"], batch.pop("look"))
        return batch

    def use_features(
        self, encode: Callable[[Tensor], Float[Tensor, "B F"]], device: torch.device
    ) -> None:
        """Replace images by the features of a frozen encoder, computed once per view.

        Args:
            encode: turns images (B, C, H, W) with values 0..1 into features (B, F).
            device: the device of `encode`.
        """
        cycle = self.spec.views or 1
        views = cycle if self.augmentation else 1
        of_views = [self.encoded("train", encode, device, view=view) for view in range(views)]
        features = {"train": torch.stack(of_views)}
        for part in ("valid", "test", "labelled"):
            features[part] = self.encoded(part, encode, device)[None]
        if views == 1:
            features["train"] = features["train"].expand(cycle, -1, -1)
        self._features = features

    def encoded(
        self, part: str, encode: Callable[[Tensor], Tensor], device: torch.device, *, view: int = 0
    ) -> Float[Tensor, "N F"]:
        """The features of a part's images in one view, in order, on the CPU."""
        features = []
        for places in self._in_order(part):
            batch = self.batch(part, [(view, k) for _, k in places])
            moved = {name: value.to(device) for name, value in batch.items()}
            image = self.on_after_batch_transfer(moved, 0)["image"]
            features.append(encode(image).float().cpu())
        return torch.cat(features)

    def evaluation_batches(self, part: str, device: torch.device | None = None) -> Iterator[Batch]:
        """The images of one part in order, with values 0..1."""
        for places in self._in_order(part):
            batch = self.batch(part, places)
            if device is not None:
                batch = {name: value.to(device) for name, value in batch.items()}
            yield self.on_after_batch_transfer(batch, 0)
