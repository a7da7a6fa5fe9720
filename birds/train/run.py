"""One run, from its spec to its record. Read `run` first: it is the whole of it."""

import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback

from birds.core.checkpoint import read_checkpoint
from birds.core.machine import Machine, resolve
from birds.core.record import Record, make_record
from birds.core.spec import PretrainSpec, RunSpec, Runtime, UserError
from birds.core.store import FULL, Orphaned, RunFolder, Stopped, disk_full, write_atomically
from birds.core.triage import failure_of
from birds.data.cache import decoded_photos
from birds.data.module import BirdsDataModule
from birds.data.prepare import load_photos, pool_pixels
from birds.data.split import Split, draw_split
from birds.methods.callbacks import Curves, Stopping, keeping, stopped_early
from birds.methods.classify.robustness import accuracy_under_noise
from birds.methods.classify.standard import Classify
from birds.methods.compiling import compile_where_it_pays
from birds.methods.pictures import save_reconstructions
from birds.methods.pretraining.autoencoder import Reconstruct
from birds.methods.pretraining.contrast import Contrast
from birds.metrics.classification import classification_metrics
from birds.metrics.cost import forward_flops, parameter_counts, peak_memory_mb
from birds.train.tracking import Tracker, tracker
from birds.use.latent.encode import pretrained_encode, unlabelled_vectors

Task = Classify | Contrast | Reconstruct


def run(spec: RunSpec, runtime: Runtime, should_stop: Callable[[], bool] = lambda: False) -> Record:
    """Do this run, or take its finished result; whatever it needs is done first.

    A run that was killed goes on from its last epoch. Raises UserError for what a person can cure,
    and Stopped at the start of an epoch when `should_stop` says so; whatever else is raised,
    `failure.txt` in the run folder tells it.
    """
    folder = RunFolder(runtime.runs_dir, spec)
    say = _voice(spec)
    if (finished := folder.record()) is not None:
        say(f"found, finished: {folder.record_file}")
        return finished
    if spec.needs is not None:
        run(spec.needs, runtime, should_stop)
    with folder.claimed(spec, waiting=lambda who: say(f"waiting: {who} works on it")):
        if (finished := folder.record()) is not None:
            return finished
        try:
            record = folder.finish(_record(spec, runtime, folder, should_stop))
            folder.checkpoint("last").unlink(
                missing_ok=True
            )  # optimizer state, of no use to a finished run
            return record
        except (
            KeyboardInterrupt,
            Orphaned,
            Stopped,
        ):  # no failure: it goes on, or another attempt has it
            raise
        except BaseException as error:
            folder.fail(failure_of(error))
            if isinstance(error, OSError) and error.errno in FULL:
                raise UserError(disk_full(folder.path)) from None
            raise


def _voice(spec: RunSpec) -> Callable[[str], None]:
    def say(words: str) -> None:
        print(f"{spec.key} {spec.title}: {words}", file=sys.stderr, flush=True)

    return say


def _record(
    spec: RunSpec, runtime: Runtime, folder: RunFolder, should_stop: Callable[[], bool]
) -> Record:
    """Train, test and measure."""
    _hush()
    machine = resolve(runtime)
    started = time.perf_counter()
    photos = load_photos(spec.data, runtime)
    pixels = decoded_photos(photos, runtime.cache_dir, spec.data.size)
    rows = photos.rows("train")
    split = draw_split(
        rows, photos.label[rows], split=spec.split, seed=spec.seed, species=photos.species
    )
    data = BirdsDataModule(
        spec, photos, pixels, split, folder.accumulate, pool_pixels(spec, photos, runtime)
    )
    if machine.device.type == "cuda":
        data.keep_on(machine.device)
    task = _task(spec, data, runtime)
    log = tracker(spec, folder.tracking, runtime.tracking)
    curves = Curves(folder, spec.training, _voice(spec))
    trainer = _trainer(
        folder, machine, log, data, [curves, *keeping(folder, spec.training), Stopping(should_stop)]
    )
    compiled = False
    with trainer.precision_plugin.forward_context():
        if not (isinstance(task, Classify) and task.frozen):
            encoder = task.unet.encoder if isinstance(task, Reconstruct) else task.encoder
            compiled = compile_where_it_pays(encoder, spec, machine, runtime)
        elif runtime.features == "cached":
            task.encode_once(data, machine.device)
    _fit(trainer, task, data, folder, curves)
    measured = _tested(trainer, task, data, folder, log) | {"epochs": len(curves.rows)}
    measured |= _counts(data, split) | machine.record() | _costs(task, data, curves, machine)
    measured |= {
        f"runtime.{name}": value for name, value in runtime.model_dump(mode="json").items()
    }
    measured["cost_seconds"] = curves.fit_seconds
    measured |= {"accumulate": data.accumulate, "compiled": compiled}
    measured["cost_attempt_seconds"] = time.perf_counter() - started
    record = make_record(spec, split.digest, measured)
    if log:
        log.summarize({k: v for k, v in measured.items() if isinstance(v, int | float | str)})
        log.finish()
    return record


def _hush() -> None:
    """Keep Lightning's chatter out of the logs; its warnings here are about choices that were made
    on purpose.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for about in (
        "does not have many workers",
        "smaller than the logging interval",
        "not empty",
        "in eval mode",
    ):
        warnings.filterwarnings("ignore", message=f".*{about}")


def _task(spec: RunSpec, data: BirdsDataModule, runtime: Runtime) -> Task:
    """The untrained task; a classifier that stands on a pretraining gets its encoder."""
    if isinstance(spec, PretrainSpec):
        kind = Contrast if spec.pretext.contrastive else Reconstruct
        return kind(spec, data.steps_per_epoch)
    task = Classify(spec, len(data.photos.species), data.steps_per_epoch)
    if spec.pretrained is not None:
        weights = _pretrained_weights(spec.pretrained, runtime)
        task.start_from(weights)
        if spec.transfer == "clusters":
            task.follow(_clusters(spec.pretrained, weights, data))
    return task


def _clusters(
    spec: PretrainSpec, weights: dict[str, torch.Tensor], data: BirdsDataModule
) -> torch.Tensor:
    """The k-means cluster of every unlabelled photo's latent vector, as many as species; -1 for
    other photos.
    """
    from analysis.latent_space import (
        clustered,
    )  # scikit-learn: a second to import, and only KM needs it

    vectors = unlabelled_vectors(pretrained_encode(spec, weights), data)
    found = torch.full((len(data.label),), -1)
    found[data.rows["unlabelled"]] = torch.from_numpy(
        clustered(vectors, len(data.photos.species), spec.seed)
    )
    return found


def _pretrained_weights(spec: PretrainSpec, runtime: Runtime) -> dict[str, torch.Tensor]:
    """The weights of a finished pretraining; if its checkpoint was lost or cut short, it is redone."""
    folder = RunFolder(runtime.runs_dir, spec)
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    if checkpoint is None:
        _voice(spec)("its checkpoint is missing or cut short: doing it again")
        folder.record_file.unlink(missing_ok=True)
        run(spec, runtime)
        checkpoint = read_checkpoint(folder.checkpoint("best"))
        assert checkpoint is not None
    weights: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return weights


def _trainer(
    folder: RunFolder,
    machine: Machine,
    log: Tracker | None,
    data: BirdsDataModule,
    callbacks: list[Callback],
) -> L.Trainer:
    return L.Trainer(
        **machine.trainer_options(),
        max_epochs=data.spec.training.epochs,
        logger=log or False,
        log_every_n_steps=10,
        callbacks=callbacks,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=1.0,
        accumulate_grad_batches=data.accumulate,
        plugins=[
            LightningEnvironment()
        ],  # under SLURM too: this harness requeues, Lightning must not
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder.path,
    )


def _fit(
    trainer: L.Trainer, task: Task, data: BirdsDataModule, folder: RunFolder, curves: Curves
) -> None:
    """Train to the end, from the last checkpoint where there is a whole one."""
    path = folder.checkpoint("last")
    last = read_checkpoint(path) if read_checkpoint(folder.checkpoint("best")) is not None else None
    if last is not None and stopped_early(last):
        curves.load_state_dict(last["callbacks"]["Curves"])
        return
    try:
        trainer.fit(
            task, data, ckpt_path=path if last else None, weights_only=True if last else None
        )
    except (
        BaseException
    ) as error:  # Ctrl-C: Lightning makes a SystemExit of it, or fails as it tidies up
        if isinstance(error, SystemExit) or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _tested(
    trainer: L.Trainer, task: Task, data: BirdsDataModule, folder: RunFolder, log: Tracker | None
) -> dict[str, Any]:
    """Metrics of the best checkpoint on test and validation photos; predictions and pictures into
    the folder.
    """
    best = read_checkpoint(folder.checkpoint("best"))
    assert best is not None
    task.load_state_dict(best["state_dict"])
    trainer.test(task, data, verbose=False)
    measured: dict[str, Any] = {"best_epoch": best["epoch"]}
    if isinstance(task, Reconstruct):
        path = save_reconstructions(task, data, folder.pictures / "reconstructions.png")
        if log:
            log.picture(
                "reconstructions", path, "shown, restored, restored without skip connections"
            )
    if not isinstance(task, Classify):
        return measured | task.tested()
    predicted = task.tested()
    hits = task.hits_under_noise()
    measured |= accuracy_under_noise(hits)
    _save_predictions(predicted, hits, data, folder)
    for part, saved in predicted.items():
        measured |= classification_metrics(saved["logits"], saved["label"], prefix=f"{part}_")
    if log:
        log.robustness(measured["test_noise"], measured["test_accuracy_noise"])
        test = predicted["test"]
        log.confusion(
            test["label"].tolist(), test["logits"].argmax(1).tolist(), list(data.photos.species)
        )
    return measured


def _save_predictions(
    predicted: dict[str, dict[str, torch.Tensor]],
    hits: torch.Tensor,
    data: BirdsDataModule,
    folder: RunFolder,
) -> None:
    arrays: dict[str, Any] = {
        "species": np.array(data.photos.species),
        "test_hits_noise": hits.numpy(),
    }
    paths = np.array(data.photos.paths)
    for part, saved in predicted.items():
        arrays |= {
            f"{part}_logits": saved["logits"].numpy(),
            f"{part}_label": saved["label"].numpy(),
        }
        arrays[f"{part}_photo"] = paths[saved["row"].numpy()]
    write_atomically(folder.predictions_file, lambda file: np.savez_compressed(file, **arrays))


def _counts(data: BirdsDataModule, split: Split) -> dict[str, Any]:
    notes = {f"data_{name}": count for name, count in data.photos.notes.items()}
    return notes | {
        "photos_labelled": len(split.labelled),
        "photos_unlabelled": len(split.unlabelled),
        "photos_pool": len(data.pool),
        "photos_valid": len(data.rows["valid"]),
        "photos_test": len(data.rows["test"]),
        "species": list(data.photos.species),
    }


def _costs(task: Task, data: BirdsDataModule, curves: Curves, machine: Machine) -> dict[str, Any]:
    task.to(machine.device).eval()
    forward: Any = (
        (lambda x: task.unet.decode(task.unet.encoder(x)))
        if isinstance(task, Reconstruct)
        else task
    )
    seen = len(curves.rows) * data.photos_per_epoch
    return {
        **parameter_counts(task),
        "cost_flops_per_photo": forward_flops(forward, data.spec.data.size, machine.device),
        "cost_images_per_second": seen / curves.train_seconds if curves.train_seconds else 0.0,
        **peak_memory_mb(machine.device),
    }
