"""`birds train ...`: `python train.py ...`, wherever birds is installed."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def train(words: Sequence[str]) -> NoReturn:
    """Become `python train.py` with these words. Raises UserError where train.py is missing."""
    from birds.core.errors import UserError
    from birds.core.home import own_home

    file = own_home() / "train.py"
    if not file.is_file():
        raise UserError(f"there is no {file}; install birds-sweeps anew")
    os.execv(sys.executable, [sys.executable, str(file), *words])
