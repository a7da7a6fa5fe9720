"""Configurations and runs as `train.py` composes them from `configs/`; no image is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from birds.core.spec import RunSpec
from birds.launch.chosen import spec_from_config

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
DIGEST = "0" * 12


def options(group: str) -> list[str]:
    """The names of a group's YAML files."""
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    """The configuration that these overrides ask for, resolved, as plain containers."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", list(overrides))
        values: Any = OmegaConf.to_container(config, resolve=True)
    return dict(values)


def spec(*overrides: str) -> RunSpec:
    """The classifier's run that these overrides ask for; its data have a made-up digest."""
    return spec_from_config(composed(*overrides), DIGEST)


def needed(*overrides: str) -> RunSpec:
    """The pretraining run that the run of these overrides needs."""
    (run,) = spec(*overrides).needs
    return run
