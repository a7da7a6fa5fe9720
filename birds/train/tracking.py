"""Logs runs to Weights & Biases; no other module does. A tracking failure is reported once and
never ends a run.

The group is the family (runs that differ only in the seed), the job type is the stage, and the id
is the key, so a resumed run stays one run. W&B only has a copy; the curves and records in the run
folder are authoritative.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning.pytorch.loggers import Logger, WandbLogger

from birds.core.process import tracking_is_off
from birds.core.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

PROJECT = "birds"


def tracker(spec: RunSpec, folder: Path, mode: str) -> Tracker | None:
    """The tracker of a run, or None when tracking is off. If W&B cannot start, it warns."""
    off = mode == "none" or tracking_is_off()
    return None if off else Tracker(spec, folder, mode)


def _keep_files_in(folder: Path) -> None:
    """Make W&B write its files into `folder`, because the home folder may be missing or read-only.

    Its settings file stays in the home folder if it is there, because it names the server and the
    user.
    """
    kept = folder / "wandb-files"
    for name in ("DATA", "CACHE", "ARTIFACT"):
        os.environ.setdefault(f"WANDB_{name}_DIR", str(kept / name.lower()))
    home = Path(os.path.expanduser("~"))  # stays `~` if there is no home folder
    if not (home / ".config" / "wandb").exists() and not os.access(home, os.W_OK):
        os.environ.setdefault("WANDB_CONFIG_DIR", str(kept / "config"))


def _silence() -> None:
    """Keep W&B's own messages out of a run's log."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_CONSOLE", "off")
    logging.getLogger("wandb").setLevel(logging.CRITICAL)
    for module in ("wandb", "lightning.pytorch.loggers.wandb"):
        warnings.filterwarnings("ignore", module=module.replace(".", r"\."))


def log_table(
    name: str, frame: pd.DataFrame, mode: Literal["offline", "online", "none"], runs_dir: Path
) -> None:
    """Show a table of results in W&B, as a separate run in the group of that name.

    A failure causes one warning.
    """
    if mode == "none" or tracking_is_off():
        return
    try:
        import wandb

        _keep_files_in(runs_dir / "tracking")
        (runs_dir / "tracking").mkdir(parents=True, exist_ok=True)
        _silence()
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        with wandb.init(
            project=project, group=name, job_type="table", dir=runs_dir / "tracking", mode=mode
        ) as run:
            run.log({name: wandb.Table(dataframe=frame)})
    except Exception as error:  # tracking is optional, and the table is already written
        warnings.warn(
            f"W&B did not take the table {name}: {type(error).__name__}: {error}", stacklevel=2
        )


class Tracker(Logger):
    """Lightning's W&B logger, made safe: an error never ends the run.

    After the first error it logs nothing more, except the final numbers and the end of the run,
    which it still tries to send.
    """

    def __init__(self, spec: RunSpec, folder: Path, mode: str) -> None:
        super().__init__()
        self._wandb: WandbLogger | None = None
        self._begun: WandbLogger | None = None
        self._version = spec.key
        self._attempt(lambda: self._start(spec, folder, mode))

    def _start(self, spec: RunSpec, folder: Path, mode: str) -> None:
        _silence()
        folder.mkdir(parents=True, exist_ok=True)
        _keep_files_in(folder)
        self._wandb = WandbLogger(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=f"{spec.title} {spec.key[:6]}",
            group=spec.family,
            job_type=spec.stage,
            tags=[f"split={spec.split}", f"variant={spec.variant}", f"data={spec.data.name}"],
            id=spec.key,
            resume="allow",
            save_dir=str(folder),
            offline=mode == "offline",
            config=spec.model_dump(mode="json"),
        )
        self._begun = self._wandb
        self._wandb.experiment.define_metric("*", step_metric="trainer/global_step")

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # an error in W&B must not end the run
            self._wandb = None
            warnings.warn(
                f"W&B tracking stopped, the run goes on: {type(error).__name__}: {error}",
                stacklevel=3,
            )

    def _with(self, act: Callable[[WandbLogger], object]) -> None:
        logger = self._wandb
        if logger is not None:
            self._attempt(lambda: act(logger))

    def _at_the_end(self, act: Callable[[WandbLogger], object]) -> None:
        logger = self._begun
        if logger is not None:
            self._attempt(lambda: act(logger))

    @property
    def name(self) -> str:
        return PROJECT

    @property
    def version(self) -> str:
        return self._version

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log one point of every curve."""
        self._with(lambda logger: logger.log_metrics(dict(metrics), step))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, because the options were logged at the start."""

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Log the run's final numbers."""
        self._at_the_end(lambda logger: logger.experiment.summary.update(dict(values)))

    def picture(self, name: str, path: Path, caption: str) -> None:
        """Log a picture from the run folder."""
        self._with(lambda logger: logger.log_image(name, [str(path)], caption=[caption]))

    def robustness(self, noise: Sequence[float], accuracy: Sequence[float]) -> None:
        """Log the accuracy at each noise level as a curve."""

        def log(logger: WandbLogger) -> None:
            for share, correct in zip(noise, accuracy, strict=True):
                logger.experiment.log({"robustness/noise": share, "robustness/accuracy": correct})

        self._with(log)

    def confusion(self, label: list[int], predicted: list[int], classes: list[str]) -> None:
        """Log the confusion matrix of the test images."""

        def log(logger: WandbLogger) -> None:
            import wandb

            matrix = wandb.plot.confusion_matrix(y_true=label, preds=predicted, class_names=classes)
            logger.experiment.log({"test_confusion": matrix})

        self._with(log)

    def finish(self) -> None:
        """Close the run."""
        self._at_the_end(lambda logger: logger.experiment.finish())
        self._wandb = self._begun = None
