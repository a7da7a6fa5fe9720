"""A cluster's profile (a file in `slurm/`) and the resources that a stage or variant requests.

The names are those of hydra-submitit-launcher (`partition`, `mem_gb`, `cpus_per_task`,
`additional_parameters`, ...). Three have a shorter name: `time`, `gpus` and `max_requeues` for
`timeout_min`, `gpus_per_node` and `max_num_timeout`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from birds.core.errors import nearest
from birds.core.spec import Choices, RunSpec, UserError
from birds.core.wrong_values import complaint

SHORTER = {"timeout_min": "time", "gpus_per_node": "gpus", "max_num_timeout": "max_requeues"}


def minutes_of(text: str) -> int | None:
    """SLURM's `days-hours:minutes:seconds` in minutes, rounded up; None for any other text, such as
    `infinite`.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 24 * 60 * days + 60 * hours + minutes + -(-seconds // 60)


class Resources(Choices):
    """The resources of one job. `time` is in minutes, or in SLURM's form (`2:00:00`)."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    comment: str | None = None
    time: Annotated[int, Field(ge=1)] = 60
    gpus: Annotated[int, Field(ge=0)] | None = None
    gpus_per_task: Annotated[int, Field(ge=0)] | None = None
    cpus_per_task: Annotated[int, Field(ge=1)] | None = None
    cpus_per_gpu: Annotated[int, Field(ge=1)] | None = None
    mem_gb: Annotated[float, Field(gt=0)] | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    signal_delay_s: Annotated[int, Field(ge=1)] = 120
    array_parallelism: Annotated[int, Field(ge=1)] = 256
    setup: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    additional_parameters: dict[str, Any] = Field(default_factory=dict)
    runs_per_job: Annotated[int, Field(ge=1)] = 1
    side_by_side: Annotated[int, Field(ge=1)] = 1

    @field_validator("time", mode="before")
    @classmethod
    def _minutes(cls, time: object) -> object:
        minutes = minutes_of(str(time))
        return time if minutes is None else minutes

    def sbatch(self) -> dict[str, Any]:
        """These resources as arguments of submitit's SLURM executor."""
        own = {"gpus", "mem_gb", "runs_per_job", "side_by_side", "modules", "setup"}
        asked = {name: value for name, value in self if name not in own and value not in (None, {})}
        modules = [f"module load {name}" for name in self.modules]
        memory = None if self.mem_gb is None else f"{round(1024 * self.mem_gb)}MB"
        asked |= {"gpus_per_node": self.gpus, "mem": memory, "setup": [*modules, *self.setup]}
        return {name: value for name, value in asked.items() if value not in (None, [])}


class Profile(Resources):
    """A cluster: its resources, those of single stages and variants, and the number of requeues
    after a timeout.
    """

    name: str
    max_requeues: Annotated[int, Field(ge=0)] = 3
    pretrain: dict[str, Any] = Field(default_factory=dict)
    classify: dict[str, Any] = Field(default_factory=dict)
    variant: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sections_are_resources(self) -> Self:
        for section in (self.pretrain, self.classify, *self.variant.values()):
            _refuse_unknown(section, Resources)
            self.with_section(section)
        return self

    def with_section(self, *sections: Mapping[str, Any]) -> Resources:
        """The cluster's resources, overridden by the sections."""
        values = {name: getattr(self, name) for name in Resources.model_fields}
        for section in sections:
            values |= section
        return Resources.model_validate(values)

    def resources(self, spec: RunSpec) -> Resources:
        """The resources of a run's job: the cluster's, overridden by its stage and its variant."""
        variant = self.variant.get(spec.variant, {}) if spec.stage == "classify" else {}
        return self.with_section(
            self.pretrain if spec.stage == "pretrain" else self.classify, variant
        )


def read_profile(config: Mapping[str, Any]) -> Profile:
    """The profile in the `slurm` group of a configuration. Raises UserError with key and cure."""
    values = _plain(config)
    try:
        _refuse_unknown(values, Profile)
        return Profile.model_validate(values)
    except ValidationError as error:
        raise UserError(complaint(error, Profile, "slurm.")) from None


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without null values, also in sections, and with the short names."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        if value is None:
            continue
        short = SHORTER.get(name, name)
        if short in values or (short != name and config.get(short) is not None):
            raise UserError(
                f"slurm.{name} and slurm.{short} are two names of one option; set one of them"
            )
        values[short] = (
            _plain(value)
            if isinstance(value, Mapping) and name != "additional_parameters"
            else value
        )
    return values


def _refuse_unknown(values: Mapping[str, Any], model: type[Choices]) -> None:
    for name in values:
        if name not in model.model_fields:
            near = nearest(name, [*model.model_fields, *SHORTER])
            raise UserError(f"unknown key slurm.{name}{near} See slurm/README.md")
