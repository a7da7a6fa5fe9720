"""Every file in the config groups can be composed, described and built; so can new files."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from composing import ROOT, needed, options, spec
from made_parts import skipping_what_is_not_installed
from omegaconf import OmegaConf

from birds.core.parts import part_class, part_names
from birds.core.spec import UserError, read_spec
from birds.encoders import reads_own_size
from birds.launch.hydra_compose import cell_overrides

GROUPS = ("encoder", "pretraining", "head", "extra_loss", "variant", "budget", "tracking", "data")
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
OF_28_PX = ("mnist", "fashion_mnist", "idx")
NEEDS: dict[tuple[str, str], tuple[str, ...]] = {
    **{("data", name): ("encoder=unet_xs",) for name in OF_28_PX},
    ("encoder", "words"): ("variant=Words",),
    ("extra_loss", "joint"): ("variant=B2",),
    ("extra_loss", "clusters"): ("variant=B2",),
    ("extra_loss", "fixmatch"): ("label_smoothing=0",),
}


@pytest.fixture(scope="session", autouse=True)
def feature_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Feature vectors for the encoder that reads a file of them."""
    file = tmp_path_factory.mktemp("features") / "features.csv"
    file.write_text("id,f0\na.jpg,1\n")
    NEEDS["encoder", "features"] = ("variant=Logistic", f"encoder.file={file}")


def asked_with(group: str, option: str) -> tuple[str, ...]:
    """The other words that an option needs."""
    fitted = group == "head" and not part_class("head", option).by_gradient
    return ("train=head",) if fitted else NEEDS.get((group, option), ())


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_every_option_makes_a_spec_that_survives_its_file(group: str, option: str) -> None:
    with skipping_what_is_not_installed():
        made = spec(f"{group}={option}", *asked_with(group, option))
    assert read_spec(made.model_dump_json()) == made
    assert read_spec(made.model_dump_json()).key == made.key


@pytest.mark.parametrize("option", options("variant"))
def test_a_variant_is_named_after_its_file(option: str) -> None:
    assert spec(f"variant={option}").variant == option


@pytest.mark.parametrize("group", ["head", "extra_loss", "encoder", "pretraining"])
def test_every_part_has_a_configuration(group: str) -> None:
    """A part's Python file without a YAML file could not be chosen."""
    places = set()
    for option in options(group):
        whole = OmegaConf.load(ROOT / "configs" / group / f"{option}.yaml")
        values = whole.get(group, whole)
        places.add(str(values.get("part", values["name"])))
    assert places == set(part_names(group))


@pytest.mark.parametrize("name", part_names("source"))
def test_every_source_has_a_data_set(name: str) -> None:
    files = (ROOT / "configs" / "data").glob("*.yaml")
    assert name in {OmegaConf.load(file).source.name for file in files}


@pytest.mark.parametrize("head", options("head"))
@pytest.mark.parametrize("variant", options("variant"))
def test_any_variant_with_any_head_is_a_run_or_is_refused_with_a_cure(
    variant: str, head: str
) -> None:
    asked = (f"variant={variant}", f"head={head}")
    by_gradient = part_class("head", head).by_gradient
    usual = spec(f"variant={variant}")
    allowed = by_gradient or usual.method.options["train"] == "head"
    if allowed and not (by_gradient and reads_own_size(usual)):
        made = spec(*asked)
        assert made.method.options["head"]["name"] == head
        assert (made.training is not None) is by_gradient
        return
    with pytest.raises(UserError, match="choose"):
        spec(*asked)


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_sweep_says_question_price_and_expectation(file: Path) -> None:
    text = file.read_text()
    assert all(word in text for word in ("# Question:", "# Price:", "# Expect:"))
    assert f"sweep: {file.stem}" in text


def cells_of(file: Path) -> list[list[str]]:
    """The words of every cell of a sweep; for tuned methods, the words that name each method."""
    whole: Any = OmegaConf.load(file)
    sweeper: Any = OmegaConf.to_container(whole.hydra.sweeper)
    if "methods" in sweeper:
        return [list(method["words"]) for method in sweeper["methods"].values()]
    values: dict[str, list[str]] = {}
    for key, value in sweeper["params"].items():
        if "(" not in str(value):
            values[str(key)] = str(value).split(",")
    cells = []
    for cell in product(*values.values()):
        words: list[str] = []
        for key, value in zip(values, cell, strict=True):
            named = cell_overrides(value, whole.cells) if key == "cell" else [f"{key}={value}"]
            words += named
        cells.append(words)
    return cells


@pytest.mark.parametrize("budget", options("budget"))
@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_sweep_can_be_asked_at_every_budget(file: Path, budget: str) -> None:
    """Composed as on the command line, with the sweep's own data set and encoder."""
    asked = {tuple(word for word in cell if "${" not in word) for cell in cells_of(file)}
    if budget != "smoke":
        asked = {cell for cell in asked if cell in sorted(asked)[:1]}
    variants = set()
    with skipping_what_is_not_installed():
        for words in sorted(asked):
            made = spec(f"sweeps={file.stem}", f"budget={budget}", *words)
            variants.add(made.variant)
            assert made.budget == budget
    named = {word for cell in asked for word in cell if word.startswith("variant=")}
    assert {f"variant={name}" for name in variants} == named or not named


def test_more_steps_stand_on_the_same_pretraining() -> None:
    counts = (20, 80, 160)
    words = [("variant=DAE", f"budget.classify.min_steps={steps}") for steps in counts]
    assert len({spec(*asked).key for asked in words}) == 3
    assert len({needed(*asked).key for asked in words}) == 1
