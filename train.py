"""The entry point of training: `python train.py split=90 variant=B2` for one run, or `python
train.py -m split=70,90 variant=A,B1,B2` for a sweep.

`-m` comes first. All keys are in configs/config.yaml, which `--help` prints.
"""

import gc
import os
import sys
from pathlib import Path

gc.set_threshold(
    1_000_000, *gc.get_threshold()[1:]
)  # imports and composition leave almost no garbage; this saves 4 % of the time of --help

import hydra  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

os.environ.setdefault(
    "BIRDS_HOME", str(Path(__file__).resolve().parent)
)  # the folder that contains sweeps/ and slurm/
os.environ["HYDRA_FULL_ERROR"] = (
    "1"  # errors reach `exit_status`, which prints them in a line or two
)


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(config: DictConfig) -> float | None:
    """Train one run, and the pretraining it needs.

    Returns the validation accuracy, which a hyper-parameter search maximises.
    """
    from birds.core.errors import result_or_exit
    from birds.launch.conduct import conduct

    gc.set_threshold(
        700
    )  # Python's default: training makes tensors, and their memory must be freed
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
