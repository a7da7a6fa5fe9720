"""Plans and trains the run of one composed configuration, for `python train.py`."""

from omegaconf import DictConfig

from birds.core.spec import UserError
from birds.core.sweep import with_needs
from birds.core.terminal import tell
from birds.launch.foretold import foretold
from birds.launch.hydra_compose import heed_environment
from birds.launch.plan import describe, how_tracked, plan_run, told_before


def conduct(config: DictConfig) -> float | None:
    """Plan a run and train it, or with `dry_run` only print the plan.

    Returns the validation accuracy, or None with `dry_run`. Raises UserError, with the cure, before
    anything is started.
    """
    heed_environment(config)
    if config.get("cell") is not None:
        raise UserError(f"cell={config.cell} is only for sweeps: put -m first")
    planned = plan_run(config)
    if planned.slurm is not None:
        raise UserError(
            f"slurm={planned.slurm['name']} is only for sweeps: put -m first, as in python "
            "train.py -m slurm=..."
        )
    for line in (*told_before([planned]), *foretold([planned], with_needs([planned.spec]))):
        tell(line)
    if planned.dry_run:
        print(describe([planned]))
        return None
    from birds.train.run import run

    record = run(planned.spec, planned.runtime)
    print(
        f"{planned.spec.title}: test accuracy {record.value('test_accuracy'):.3f}, "
        f"{planned.folder.record_file}"
    )
    if words := how_tracked(planned.runtime):
        print(words)
    return float(record.value("valid_accuracy"))
