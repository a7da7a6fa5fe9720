"""A checkpoint read back, on the CPU; without Lightning, whose import costs a second and memory."""

from pathlib import Path
from typing import Any

import torch


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `RunFolder.checkpoint` names, or None when it is missing or was cut short."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises RuntimeError, EOFError or UnpicklingError on a file that was cut short
        return None
    return found
