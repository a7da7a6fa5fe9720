"""The Hydra plug-in with the staged launcher and its sweepers; Hydra requires this location.

Hydra imports it at every start, so it imports nothing slow.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
from omegaconf import DictConfig, OmegaConf

# Plain mappings, no dataclass: Hydra executes this module before it is in sys.modules, which
# dataclasses need.
LAUNCHER = {"_target_": "hydra_plugins.staged.StagedLauncher"}
SWEEPER = {"_target_": "hydra_plugins.staged.StagedSweeper", "max_batch_size": None, "params": None}
for group, node in (("hydra/launcher", LAUNCHER), ("hydra/sweeper", SWEEPER)):
    ConfigStore.instance().store(group=group, name="staged", node=node, provider="birds")


class StagedLauncher(Launcher):
    """Trains shared pretrainings once, then the runs that need them.

    It works on this machine or, with `slurm=NAME`, on a cluster.
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

        compose = Composer(self._loader, self._config)
        return launch(compose, job_overrides, _load_table, _load_looks)


def _load_table() -> Any:
    """The function that prints a sweep's table; importing it takes about a second."""
    import scipy.special  # noqa: F401  (the table's intervals need it)

    from analysis.answer import print_sweep_table

    return print_sweep_table


def _load_looks() -> Any:
    """The interim analyses of a sweep with `launch.until`."""
    from analysis.seeds import open_runs
    from analysis.statistics import LOOKS
    from birds.launch.looks import Found, Looks

    def look(runs_dir: Any, sweep: str, points: float, gap: bool) -> Found:
        return Found(*open_runs(runs_dir, sweep, points, gap=gap))

    return Looks(LOOKS, look)


class StagedSweeper(BasicSweeper):
    """Hydra's basic sweeper, but it does not compose every job before the launch.

    Our launcher rejects invalid jobs before any run starts.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Validate jobs only for other launchers; ours does this itself."""
        if not isinstance(self.launcher, StagedLauncher):
            super().validate_batch_is_legal(batch)


class ResumedOptunaSweeper(OptunaSweeper):
    """Optuna's sweeper, which resumes an interrupted study."""

    def __init__(self, max_batch_size: None = None, **settings: Any) -> None:
        super().__init__(**settings)  # max_batch_size belongs to the sweeper that this one replaces

    def sweep(self, arguments: list[str]) -> None:
        """Run the missing trials of the study, interrupted ones first."""
        from birds.launch.search import claimed_study, refuse_dry_run, resume

        refuse_dry_run(self.sweeper, arguments)
        with claimed_study(self.sweeper):
            resume(self.sweeper, arguments)
            super().sweep(arguments)
        print(f"To list the trials: birds table {self.sweeper.study_name}")


class TunedSweeper(Sweeper):
    """Runs the same number of Optuna trials for every method, then all methods with other seeds.

    methods: by name, the overrides of a method (`words`) and its search space (`params`).
    seeds: the reported seeds.
    search: the settings of each method's search (see ResumedOptunaSweeper).
    """

    def __init__(
        self,
        methods: Any,
        seeds: Any,
        search: Any,
        params: None = None,
        max_batch_size: None = None,
    ) -> None:
        self._methods = methods
        self._seeds = list(seeds)
        self._search = search

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._context = hydra_context
        self._task = task_function
        self.config = config
        self._asked = config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the missing trials of each method, then the reported runs."""
        from pathlib import Path

        from birds.launch.search import refuse_dry_run
        from birds.launch.tuned import reported_seeds, tune_and_report

        refuse_dry_run(self, arguments)
        seeds, words = reported_seeds(arguments, self._seeds)
        self._words = words
        runs_dir, name = Path(self._asked.runs_dir), str(self._asked.sweep)
        Path(self._asked.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        return tune_and_report(
            runs_dir,
            name,
            OmegaConf.to_container(self._methods, resolve=True),  # type: ignore[arg-type]
            seeds,
            list(self._asked.search.seeds),
            self._search_one,
            self._report,
        )

    def _search_one(self, study: str, method: Sequence[str], params: Any) -> None:
        settings = instantiate(self._search)
        storage = f"sqlite:///{self._asked.runs_dir}/sweeps/{study}/study.db"
        own = OmegaConf.create(dict(params))
        sweeper = ResumedOptunaSweeper(**settings, storage=storage, study_name=study, params=own)
        sweeper.setup(hydra_context=self._context, task_function=self._task, config=self._asked)
        sweeper.sweep([*self._words, *method, f"sweep={study}"])

    def _report(self, chosen: Any, jobs: Sequence[Sequence[str]]) -> Any:
        from birds.launch.hydra_compose import Composer
        from birds.launch.launcher import launch

        compose = Composer(self._context.config_loader, self._asked)

        def tuned(words: Sequence[str]) -> DictConfig:
            """The configuration of a job with the tuned choices of its method."""
            own = chosen[" ".join(word for word in words if not word.startswith("seed="))]
            return compose([*self._words, *words, *own, "search.seeds=null"])

        return launch(tuned, jobs, _load_table, _load_looks)
