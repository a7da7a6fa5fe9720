"""The door to training: `python train.py split=90 variant=B2`, or `-m split=70,90 variant=A,B1,B2`
for a sweep.

`-m` goes first; the keys are in configs/config.yaml, which `--help` prints.
"""

import gc
import os
import sys
from pathlib import Path

gc.set_threshold(
    1_000_000, *gc.get_threshold()[1:]
)  # importing and composing leave next to no garbage: 4 % of --help

import hydra  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

os.environ.setdefault(
    "BIRDS_HOME", str(Path(__file__).resolve().parent)
)  # where sweeps/ and slurm/ are found
os.environ["HYDRA_FULL_ERROR"] = (
    "1"  # errors come to `exit_status`, which says them in a line or two
)


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(config: DictConfig) -> float | None:
    """One run, and the pretraining it needs. Returns its validation accuracy, for hyper-parameter
    search.
    """
    from birds.core.errors import result_or_exit
    from birds.launch.conduct import conduct

    gc.set_threshold(700)  # Python's own: training makes tensors, whose memory is not to wait
    return result_or_exit(lambda: conduct(config))


if __name__ == "__main__":
    from birds.core.errors import exit_status, refuse_unknown_additions
    from birds.core.process import prepare_process

    prepare_process()
    if {"--help", "-h"} & set(sys.argv[1:]):
        from birds.core.help_page import help_page

        sys.exit(exit_status(lambda: print(help_page())))
    if status := exit_status(lambda: refuse_unknown_additions(sys.argv[1:])):
        sys.exit(status)
    sys.exit(exit_status(main))
