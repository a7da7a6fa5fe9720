"""The photos of one run as batches: gathered from the shared cache, augmented on the device.

Pretraining sees the unlabelled training photos, classifiers the labelled ones; validation and test
photos are never among them. Order and looks of an epoch are functions of (seed, epoch), so a
resumed run sees what it would have seen.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import lightning as L
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from birds.core.randomness import stream
from birds.core.spec import ClassifySpec, RunSpec
from birds.data.augment import augment, to_float, view_parameters
from birds.data.photos import Photos
from birds.data.split import Split

Batch = dict[str, Tensor]
EVALUATION_BATCH = 64
NOISY = "noisy"  # the test photos once more, always as photos: what noise is put on
FEATURED = ("train", "valid", "test")


class BirdsDataModule(L.LightningDataModule):
    """Batches for one run. A batch is a dict: photo (B, 3, H, W), label (B,), row (B,), or feature
    (B, F) for photo.

    Args:
        spec: the run.
        photos: the data set.
        pixels: its decoded photos, uint8 (N, H, W, 3).
        split: the cut of its training photos.
        accumulate: in how many parts each batch comes, for want of memory; never so many that a
            part is one photo.
        pool: decoded photos that are unlabelled beside those of the split, if any; their rows
            follow those of `photos`.
    """

    def __init__(
        self,
        spec: RunSpec,
        photos: Photos,
        pixels: NDArray[np.uint8],
        split: Split,
        accumulate: int = 1,
        pool: NDArray[np.uint8] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.photos = photos
        self.pixels = pixels
        self.pool = pixels[:0] if pool is None else pool
        self.label = np.append(photos.label, np.full(len(self.pool), -1))
        unlabelled = np.append(split.unlabelled, np.arange(len(photos.label), len(self.label)))
        rows = split.labelled if isinstance(spec, ClassifySpec) else unlabelled
        test = photos.rows("test")
        self.rows = {
            "train": rows,
            "valid": photos.rows("valid"),
            "test": test,
            NOISY: test,
            "unlabelled": unlabelled,
        }
        self._features: dict[str, Float[Tensor, "V N F"]] | None = None
        self._resident: UInt8[Tensor, "N H W 3"] | None = None
        per_pass = math.ceil(len(rows) / spec.training.batch)
        self.accumulate = max(1, min(accumulate, len(rows) // per_pass // 2))
        self.passes = math.ceil(spec.training.min_steps / per_pass)
        self.steps_per_epoch = min(
            self.passes * per_pass, spec.training.max_steps or self.passes * per_pass
        )

    def views_of_epoch(self, epoch: int) -> list[int]:
        """The number of the view that each pass of an epoch shows."""
        shown = range(epoch * self.passes, (epoch + 1) * self.passes)
        cycle = self.spec.views if isinstance(self.spec, ClassifySpec) else None
        return [view % cycle if cycle else view for view in shown]

    def train_dataloader(self) -> DataLoader[Batch]:
        """One epoch of the training photos in its own order."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        plan: list[list[tuple[int, int]]] = []
        for number, view in enumerate(self.views_of_epoch(epoch), epoch * self.passes):
            order = stream(self.spec.seed, "order", number).permutation(len(self.rows["train"]))
            parts = np.array_split(order, math.ceil(len(order) / self.spec.training.batch))
            plan += [[(view, int(k)) for k in part] for part in parts]
        batches = plan[: self.steps_per_epoch]
        return self._loader(
            "train",
            [batch[k :: self.accumulate] for batch in batches for k in range(self.accumulate)],
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation photos in their order, as they are."""
        return self._loader("valid", self._in_order("valid"))

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """The test photos, the validation photos, for classifiers the test photos again: by the
        best checkpoint.
        """
        parts = (
            ("test", "valid", NOISY) if isinstance(self.spec, ClassifySpec) else ("test", "valid")
        )
        return [self._loader(part, self._in_order(part)) for part in parts]

    def _in_order(self, part: str) -> list[list[tuple[int, int]]]:
        count = len(self.rows[part])
        return [
            [(0, k) for k in range(a, min(a + EVALUATION_BATCH, count))]
            for a in range(0, count, EVALUATION_BATCH)
        ]

    def _loader(self, part: str, plan: list[list[tuple[int, int]]]) -> DataLoader[Batch]:
        return DataLoader(plan, batch_size=None, collate_fn=partial(self.batch, part))  # type: ignore[arg-type]

    @property
    def photos_per_epoch(self) -> int:
        """How many photos, counted with their repetitions, an epoch trains on (rounded to whole
        batches).
        """
        full = math.ceil(len(self.rows["train"]) / self.spec.training.batch) * self.passes
        return round(self.passes * len(self.rows["train"]) * self.steps_per_epoch / full)

    def batch(self, part: str, places: list[tuple[int, int]]) -> Batch:
        """The photos at `places`, each (view, position in the part), as a batch on the CPU."""
        view, position = (np.array(column) for column in zip(*places, strict=True))
        rows = self.rows[part][position]
        batch: Batch = {"row": torch.from_numpy(rows), "label": torch.from_numpy(self.label[rows])}
        if self._features is not None and part in self._features:
            return batch | {"feature": self._features[part][view, position]}
        if self._resident is None:
            batch["photo"] = torch.from_numpy(self.decoded(rows)).permute(0, 3, 1, 2)
        if part in ("train", "unlabelled") and self.spec.training.augment:
            batch["look"] = torch.from_numpy(self._looks(part, view, position))
        return batch

    def keep_on(self, device: torch.device) -> None:
        """Hold the photos on this device and gather batches there, if they take half of its free
        memory or less.
        """
        size = self.pixels.nbytes + self.pool.nbytes
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
        if size <= free / 2:
            self._resident = torch.cat(
                [torch.tensor(part, device=device) for part in (self.pixels, self.pool)]
            )

    def decoded(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The photos (B, H, W, 3) of these rows, those of the wider pool included."""
        own = rows < len(self.pixels)
        if own.all():
            return self.pixels[rows]
        gathered = np.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        gathered[own], gathered[~own] = (
            self.pixels[rows[own]],
            self.pool[rows[~own] - len(self.pixels)],
        )
        return gathered

    def unlabelled(self, step: int, device: torch.device, *, plain: bool = False) -> Batch:
        """The unlabelled photos that stand beside the labelled ones of a step, as many as fit a
        batch: photo and row.

        They have the look of that step, or as `plain` ones none. Labels are not given away.
        """
        count = len(self.rows["unlabelled"])
        chosen = stream(self.spec.seed, "beside", step).permutation(count)[
            : self.spec.training.batch
        ]
        batch = self.batch("unlabelled", [(step, int(k)) for k in chosen])
        kept = ("photo", "row") if plain else ("photo", "row", "look")
        return self.on_after_batch_transfer(
            {n: v.to(device) for n, v in batch.items() if n in kept}, 0
        )

    def _looks(
        self, part: str, view: NDArray[np.int64], position: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        seed, photos, strength = self.spec.seed, len(self.rows[part]), self.spec.training.augment
        return np.stack(
            [
                view_parameters(seed, int(v), photos, strength)[k]
                for v, k in zip(view, position, strict=True)
            ]
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Scale to fractions and augment, on whatever device the batch is on."""
        if self._resident is not None and "feature" not in batch:
            photo = self._resident[batch["row"].to(self._resident.device)].permute(0, 3, 1, 2)
            batch["photo"] = photo.to(batch["row"].device)
        if "photo" in batch:
            batch["photo"] = to_float(batch["photo"])
            if "look" in batch:
                batch["photo"] = augment(batch["photo"], batch.pop("look"))
        return batch

    def use_features(
        self, encode: Callable[[Tensor], Float[Tensor, "B F"]], device: torch.device
    ) -> None:
        """Replace photos by their features, computed once per view: what a frozen encoder allows.

        Args:
            encode: photo (B, 3, H, W) of fractions -> feature (B, F).
            device: where `encode` works.
        """
        views = (
            (self.spec.views or 1)
            if isinstance(self.spec, ClassifySpec) and self.spec.training.augment
            else 1
        )
        features = {
            part: torch.stack(
                [
                    self._encoded(part, v, encode, device)
                    for v in range(views if part == "train" else 1)
                ]
            )
            for part in FEATURED
        }
        if views == 1 and isinstance(self.spec, ClassifySpec):
            features["train"] = features["train"].expand(self.spec.views or 1, -1, -1)
        self._features = features

    def _encoded(
        self, part: str, view: int, encode: Callable[[Tensor], Tensor], device: torch.device
    ) -> Tensor:
        out = []
        for places in self._in_order(part):
            batch = {
                n: v.to(device) for n, v in self.batch(part, [(view, k) for _, k in places]).items()
            }
            out.append(encode(self.on_after_batch_transfer(batch, 0)["photo"]).float().cpu())
        return torch.cat(out)

    def evaluation_batches(self, part: str) -> Iterator[Batch]:
        """The photos of one part in order, as fractions, for pictures."""
        for places in self._in_order(part):
            yield self.on_after_batch_transfer(self.batch(part, places), 0)
