"""`birds train ...`: runs `python train.py ...` from any folder."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def train(words: Sequence[str]) -> NoReturn:
    """Replace this process by `python train.py` with these arguments.

    Raises UserError if train.py is missing.
    """
    from birds.core.errors import UserError
    from birds.core.home import own_home

    file = own_home() / "train.py"
    if not file.is_file():
        raise UserError(f"{file} is missing; install birds-sweeps again")
    os.execv(sys.executable, [sys.executable, str(file), *words])
