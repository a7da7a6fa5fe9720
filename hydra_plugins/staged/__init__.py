"""The door through which Hydra finds the staged launcher and its sweepers; it insists on this
place.

Hydra scans it at every start, so nothing heavy is imported here.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
from omegaconf import DictConfig

# Plain mappings: Hydra executes this module before it is in sys.modules, where a dataclass cannot
# be made.
LAUNCHER = {"_target_": "hydra_plugins.staged.StagedLauncher"}
SWEEPER = {"_target_": "hydra_plugins.staged.StagedSweeper", "max_batch_size": None, "params": None}
for group, node in (("hydra/launcher", LAUNCHER), ("hydra/sweeper", SWEEPER)):
    ConfigStore.instance().store(group=group, name="staged", node=node, provider="birds")


class StagedLauncher(Launcher):
    """Shared pretraining once, then what needs it; on this machine, or with `slurm=NAME` on a
    cluster.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._loader = hydra_context.config_loader
        self._config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from birds.launch.hydra_compose import Composer
        from birds.launch.launcher import launch

        return launch(Composer(self._loader, self._config), job_overrides, _load_table)


def _load_table() -> Any:
    """What prints the table of a sweep; importing it takes about a second."""
    import scipy.stats  # noqa: F401  (the table's intervals need it)

    from analysis.tables import print_sweep_table

    return print_sweep_table


class StagedSweeper(BasicSweeper):
    """Hydra's own, without composing every job twice: the launcher refuses nonsense before any run
    starts.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to the launcher; other launchers than ours would not, so for them it is done."""
        if not isinstance(self.launcher, StagedLauncher):
            super().validate_batch_is_legal(batch)


class ResumedOptunaSweeper(OptunaSweeper):
    """Optuna's, which goes on with a study that was interrupted instead of beginning again."""

    def __init__(self, max_batch_size: None = None, **settings: Any) -> None:
        super().__init__(
            **settings
        )  # the first is a setting of the sweeper that this one is chosen in place of

    def sweep(self, arguments: list[str]) -> None:
        """Do the trials that the study still lacks, interrupted ones first."""
        from birds.launch.search import claimed_study, refuse_dry_run, resume

        refuse_dry_run(self.sweeper, arguments)
        with claimed_study(self.sweeper):
            resume(self.sweeper, arguments)
            super().sweep(arguments)
        print(f"The trials: birds table {self.sweeper.study_name}")
