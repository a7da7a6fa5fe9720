"""The door through which Hydra finds the staged launcher; Hydra insists on this place and scans it at every start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# A plain mapping: Hydra executes this module before it is in sys.modules, where a dataclass cannot be made.
NODE = {"_target_": "hydra_plugins.staged.StagedLauncher"}
ConfigStore.instance().store(group="hydra/launcher", name="staged", node=NODE, provider="birds")


class StagedLauncher(Launcher):
    """Shared pretraining once, then what needs it."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._loader = hydra_context.config_loader
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from birds.launcher import launch

        def compose(overrides: Sequence[str]) -> Any:
            return self._loader.load_sweep_config(self._config, list(overrides))

        return launch(compose, job_overrides)
