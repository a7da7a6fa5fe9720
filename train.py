"""The door to training: `python train.py split=90 variant=B2`, or `-m split=70,90 variant=A,B1,B2` for a sweep.

`-m` goes first; the keys are in configs/config.yaml.
"""

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

os.environ.setdefault("BIRDS_HOME", str(Path(__file__).resolve().parent))  # where sweeps/ and slurm/ are found
os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to `exit_status`, which says them in a line or two


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(config: DictConfig) -> float | None:
    """One run, and the pretraining it needs. Returns its validation accuracy, for hyper-parameter search."""
    from birds.conduct import conduct
    from birds.refusals import result_or_exit

    return result_or_exit(lambda: conduct(config))


if __name__ == "__main__":
    from birds.refusals import exit_status

    sys.exit(exit_status(main))
