"""Made-up runs and sweeps: the files that real ones would leave, for tests of code that reads them.

The choices of a run are composed by Hydra, as on the command line; the test gives its metrics.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from analysis.comparisons import write_comparisons
from analysis.tables import sweep_table, write_tables
from birds.core.record import make_record
from birds.core.spec import RunSpec
from birds.core.store import RunFolder
from birds.launch.chosen import spec_from_config

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["ROBIN", "WREN", "FINCH"]


@cache
def spec(*overrides: str) -> RunSpec:
    """The run that these words ask for on the command line, with made-up images."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    return spec_from_config(config, "0" * 12)


def reseeded(made: RunSpec, seed: int) -> RunSpec:
    """The same run and the runs that it needs, with another seed."""
    needs = tuple(reseeded(needed, seed) for needed in made.needs)
    return made.model_copy(update={"seed": seed, "needs": needs})


def asked(words: str) -> RunSpec:
    """The run that these words ask for; seeds are set afterwards, because composing is slow."""
    rest = [word for word in words.split() if not word.startswith("seed=")]
    seeds = [word.partition("=")[2] for word in words.split() if word.startswith("seed=")]
    made = spec(*rest)
    return reseeded(made, int(seeds[-1])) if seeds else made


def finish(runs_dir: Path, made: RunSpec, **measured: object) -> str:
    """Write a finished run with a record of these metrics; returns its key."""
    folder = RunFolder(runs_dir, made)
    counts = {"images_labelled": 30, "images_unlabelled": 270, "images_test": 50}
    where = {"precision": "32", "device_name": "a CPU", "images_valid": 20}
    costs = {"cost_parameters": 1234, "cost_parameters_trained": 7, "cost_seconds": 9.0}
    with folder.claimed(made):
        folder.finish(make_record(made, "cut", counts | where | costs | measured))
    return made.key


def sweep(runs_dir: Path, name: str, keys: list[str], words: list[str] | None = None) -> None:
    """A sweep that asked for `keys`, each with its own words."""
    overrides = [word.split() for word in words or ["split=90"] * len(keys)]
    folder = runs_dir / "sweeps" / name
    folder.mkdir(parents=True)
    runs = [{"key": key, "overrides": own} for key, own in zip(keys, overrides, strict=True)]
    (folder / "sweep.json").write_text(json.dumps({"runs": runs}))


def guesses(seed: int, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits that are right for about two images in three."""
    random = np.random.default_rng(seed)
    label = np.arange(images) % 3
    noise = random.normal(0, 1.2, (images, 3))
    return label, (noise + 1.5 * np.eye(3)[label]).astype(np.float32)


def finish_run(runs_dir: Path, *words: str, seed: int) -> str:
    """A finished run with all files that a real one leaves and that figures read.

    A run without epochs has no curves; one without a test under noise has no results for it.
    """
    made = reseeded(spec(*words), seed)
    label, logits = guesses(seed + 10 * len(words[0]))
    accuracy = float((logits.argmax(1) == label).mean())
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (label, logits.argmax(1)), 1)
    measured: dict[str, Any] = {"test_accuracy": accuracy, "test_macro_f1": accuracy}
    measured |= {"valid_accuracy": accuracy, "train_accuracy": 0.99, "classes": CLASSES}
    measured |= {"test_confusion": confusion.tolist(), "runtime.data_root": "gone"}
    measured |= {"epochs": 3, "best_epoch": 1} if made.training else {"epochs": 0}
    image = np.array([f"test/{CLASSES[k]}/{n}.jpg" for n, k in enumerate(label)])
    arrays = {"test_label": label, "test_logits": logits, "test_image": image}
    arrays["classes"] = np.array(CLASSES)
    if made.noise_levels:
        measured |= {"test_noise": [0.0, 0.2, 0.4]}
        measured |= {"test_accuracy_noise": [accuracy, accuracy / 2, 0.3]}
    for needed in made.needs:
        leave_pretraining(runs_dir, needed, label, seed)
    folder = RunFolder(runs_dir, finish(runs_dir, made, **measured))
    if made.training:
        head = "epoch,train_loss,valid_loss,valid_accuracy"
        folder.curves_file.write_text(f"{head}\n0,2,3,0.3\n1,1,2,0.6\n2,1,2.5,0.5\n")
    np.savez(folder.predictions_file, **arrays)
    return folder.key


def leave_pretraining(runs_dir: Path, made: RunSpec, label: np.ndarray, seed: int) -> None:
    """A finished pretraining, with curves, a picture, and results of `birds latent`."""
    for needed in made.needs:
        leave_pretraining(runs_dir, needed, label, seed)
    folder = RunFolder(runs_dir, made)
    if folder.record_file.exists():
        return
    where = {"runtime.data_root": "gone", "classes": CLASSES}
    finish(runs_dir, made, best_epoch=2, **where)
    folder.curves_file.write_text("epoch,train_loss,valid_loss\n0,2,3\n1,1,2\n2,1,1\n")
    folder.pictures.mkdir(exist_ok=True)
    Image.new("RGB", (64, 32), "grey").save(folder.pictures / "reconstructions.png")
    leave_latent(folder, label, seed)


def leave_latent(folder: RunFolder, label: np.ndarray, seed: int) -> None:
    """The files of `birds latent`: each class is one tight cloud, and all images of class 2 are in
    cluster 1.
    """
    around = np.eye(3, 2)[label] * 9 + np.random.default_rng(seed).normal(size=(len(label), 2))
    folder.latent.mkdir(exist_ok=True)
    arrays = {"vectors": around.astype(np.float32), "tsne": around.astype(np.float32)}
    arrays |= {"label": label, "cluster": np.where(label == 2, 1, label)}
    arrays["image"] = np.array([f"{n}.jpg" for n in range(len(label))])
    np.savez(folder.latent / "latent.npz", **arrays)
    measured = {"accuracy": 2 / 3, "accuracy_by_chance": 0.4, "untrained_accuracy": 0.5}
    measured |= {"nmi": 0.6, "ari": 0.7, "silhouette": 0.8}
    (folder.latent / "latent.json").write_text(json.dumps(measured | {"key": folder.key}))


def two_seeds(runs_dir: Path, *words: str, name: str = "exp1") -> None:
    """A sweep of the given cells with two seeds each."""
    cells = [(word, seed) for word in words for seed in (0, 1)]
    keys = [finish_run(runs_dir, *word.split(), seed=seed) for word, seed in cells]
    sweep(runs_dir, name, keys, [word for word, _ in cells])


def print_comparisons(runs_dir: Path, name: str) -> None:
    """Write the comparisons of a sweep and print them, as `birds table --details` does."""
    for text, files in write_comparisons(runs_dir, name):
        print(f"{text}\nWritten: {files}")


def print_tables(runs_dir: Path, name: str) -> None:
    """Write the tables of a sweep and print them, as `birds table --details` does."""
    for text, files in write_tables(runs_dir, name, *sweep_table(runs_dir, name)):
        print(f"{text}\nWritten: {files}")
