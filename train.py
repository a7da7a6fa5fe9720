"""The door to training: `python train.py split=90 variant=B2`, or `-m split=70,90 variant=A,B1,B2` for a sweep."""

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
    from birds.plan import describe, plan_run

    planned = plan_run(config)
    if planned.dry_run:
        print(describe([planned]))
        return None
    from birds.run import run
    from birds.tracking import said_aloud

    if words := said_aloud(planned.runtime.runs_dir, planned.runtime.tracking):
        print(words)
    record = run(planned.spec, planned.runtime)
    print(f"{planned.spec.title}: test accuracy {record.value('test_accuracy'):.3f}, {planned.folder.record_file}")
    return float(record.value("valid_accuracy"))


if __name__ == "__main__":
    from birds.refusals import exit_status

    sys.exit(exit_status(main))
