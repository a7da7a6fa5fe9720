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
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper
from omegaconf import DictConfig, OmegaConf

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

        compose = Composer(self._loader, self._config)
        return launch(compose, job_overrides, _load_table, _load_looks)


def _load_table() -> Any:
    """What prints the table of a sweep; importing it takes about a second."""
    import scipy.special  # noqa: F401  (the table's intervals need it)

    from analysis.answer import print_sweep_table

    return print_sweep_table


def _load_looks() -> Any:
    """What looks at a sweep that stops when it knows enough (`launch.until`)."""
    from analysis.seeds import open_runs
    from analysis.statistics import LOOKS
    from birds.launch.looks import Found, Looks

    def look(runs_dir: Any, sweep: str, points: float, gap: bool) -> Found:
        return Found(*open_runs(runs_dir, sweep, points, gap=gap))

    return Looks(LOOKS, look)


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


class TunedSweeper(Sweeper):
    """The same number of Optuna's trials for every method, then all of them with other seeds.

    methods: by name, the `words` that ask for it and the `params` to search over. seeds: those that
    are reported. search: the settings of each method's search (see ResumedOptunaSweeper).
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
        """Search for each method what its trials still lack, then run what is reported."""
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
            """The configuration with the choices of the method that the words ask for."""
            own = chosen[" ".join(word for word in words if not word.startswith("seed="))]
            return compose([*self._words, *words, *own, "search.seeds=null"])

        return launch(tuned, jobs, _load_table, _load_looks)
