"""A checkpoint read back, on the CPU; without Lightning, whose import costs a second and memory."""

from pathlib import Path
from typing import Any

import torch

from birds.core.spec import ClassifySpec, UserError, read_spec
from birds.core.store import RunFolder


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `RunFolder.checkpoint` names, or None when it is missing or was cut short."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ):  # torch raises RuntimeError, EOFError or UnpicklingError on a file that was cut short
        return None
    return found


def finished_classifier(
    folder: RunFolder,
) -> tuple[ClassifySpec, list[str], dict[str, torch.Tensor]]:
    """What a finished classifier is, its species and its best weights. Raises UserError when the run
    is not one.
    """
    spec, record = read_spec(folder.spec_file.read_text()), folder.record()
    if not isinstance(spec, ClassifySpec):
        raise UserError(
            f"run {folder.key} is a pretraining and knows no species; give a classifier's run"
        )
    if record is None:
        raise UserError(f"run {folder.key} is not finished; ask for it again with train.py")
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    if checkpoint is None:
        raise UserError(
            f"the checkpoint of run {folder.key} is missing or was cut short ({folder.checkpoint('best')}): "
            f"remove {folder.record_file} and ask for the run again with train.py"
        )
    return spec, record.value("species"), checkpoint["state_dict"]
