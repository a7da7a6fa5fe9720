"""`train.py`, or `python -m birds`, as the first word says, but jobs do `quick` with each run."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import birds.launch.slurm.submit  # noqa: E402

birds.launch.slurm.submit.WORK = "tests.slurm.quick.quick"
which = sys.argv.pop(1)
if which == "birds":
    runpy.run_module("birds", run_name="__main__", alter_sys=True)
else:
    sys.argv[0] = str(ROOT / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
