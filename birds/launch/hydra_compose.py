"""Many jobs composed at the price of few: Hydra composes each distinct choice of groups once.

Most overrides of a sweep (`seed=3`, `noise=0.2`) change values only; Hydra applies those last, to a
composed configuration, and so does this, with Hydra's own functions and their own complaints.

A sweep may list cells in place of a grid: `cell=NAME` stands for the overrides that `cells.NAME`
lists. Sweeps over one factor at a time are written so.
"""

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from birds.core.errors import UserError, nearest
from birds.core.process import tracking_is_off


def heed_environment(config: DictConfig) -> None:
    """Switch tracking off where the environment says so (WANDB_MODE, WANDB_DISABLED)."""
    if tracking_is_off() and OmegaConf.select(config, "tracking.mode") is not None:
        config.tracking.mode = "none"


class Composer:
    """Overrides of a job -> its configuration, without the `hydra` node.

    Args:
        loader: Hydra's loader.
        config: the sweep's own configuration.
    """

    def __init__(self, loader: Any, config: DictConfig) -> None:
        self._loader = loader
        self._config = config
        self._parser = OverridesParser.create()
        self._groups = set(config.hydra.runtime.choices)
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        config = self._with(overrides)
        cell = config.get("cell")
        if cell is None:
            return config
        own = self._parser.parse_overrides(cell_overrides(str(cell), config.get("cells")))
        replaced = {one.key_or_group for one in own}
        kept = [
            str(one.input_line)
            for one in self._parser.parse_overrides(list(overrides))
            if one.key_or_group not in replaced
        ]
        return self._with([*kept, *(str(one.input_line) for one in own)])

    def _with(self, overrides: Sequence[str]) -> DictConfig:
        parsed = self._parser.parse_overrides(list(overrides))
        values = [one for one in parsed if self._is_value(one)]
        groups = tuple(str(one.input_line) for one in parsed if not self._is_value(one))
        if groups not in self._composed:
            composed = self._loader.load_sweep_config(self._config, list(groups))
            with open_dict(composed):
                del composed["hydra"]
            self._composed[groups] = composed
        config = copy.deepcopy(self._composed[groups])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        heed_environment(config)
        return config

    def _is_value(self, override: Any) -> bool:
        plain = not (override.is_add() or override.is_delete() or override.is_force_add())
        return plain and override.package is None and override.key_or_group not in self._groups


def cell_overrides(name: str, cells: Any) -> list[str]:
    """The overrides that a cell stands for. Raises UserError where there is no such cell."""
    there = OmegaConf.to_container(cells) if isinstance(cells, DictConfig) else {}
    assert isinstance(there, dict)
    known = [str(cell) for cell in there]
    if not known:
        raise UserError(
            f"cell={name}: no cells are listed; choose a sweep with cells, sweeps=words"
        )
    if name not in known:
        raise UserError(
            f"cell={name}: there is no such cell{nearest(name, known)} There are: "
            f"{', '.join(known)}"
        )
    return [str(override) for override in there[name] or ()]
