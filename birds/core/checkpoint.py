"""A checkpoint read back, on the CPU; without Lightning, whose import costs a second and memory."""

from pathlib import Path
from typing import Any

import torch

from birds.core.spec import RunSpec, UserError, read_spec
from birds.core.store import RunFolder


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `RunFolder.checkpoint` names, or None when it is missing or incomplete."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises RuntimeError, EOFError or UnpicklingError on a cut file
        return None
    return checkpoint


def saved_weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    """The best weights of a run. Raises UserError when they are missing or were cut short."""
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    if checkpoint is None:
        raise UserError(
            f"the checkpoint of run {folder.key} is missing or incomplete "
            f"({folder.checkpoint('best')}): remove {folder.record_file} and ask for the run "
            "again with train.py"
        )
    weights: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return weights


def finished_classifier(folder: RunFolder) -> tuple[RunSpec, list[str]]:
    """What a finished classifier is, and its classes. Raises UserError when the run is not one."""
    spec, record = read_spec(folder.spec_file.read_text()), folder.record()
    if spec.stage != "classify":
        raise UserError(
            f"run {folder.key} is a pretraining and knows no classes; give a classifier's run"
        )
    if record is None:
        raise UserError(f"run {folder.key} is not finished; ask for it again with train.py")
    return spec, record.value("classes")
