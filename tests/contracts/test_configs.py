"""Everything found in the config groups can be composed, named and built: no list to extend when
one is added.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from birds.core.spec import ClassifySpec, read_spec, spec_from_config
from birds.encoders import build_encoder
from birds.encoders.unet import UNet
from birds.methods.pretraining import Passage, build_pretext

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        values: Any = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    return dict(values)


def spec(*overrides: str) -> ClassifySpec:
    return spec_from_config(composed(*overrides), "0" * 12)


GROUPS = ("encoder", "pretext", "variant", "budget", "tracking")


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in options(g)])
def test_every_option_makes_a_spec_that_survives_its_file(group: str, option: str) -> None:
    made = spec(f"{group}={option}")
    assert read_spec(made.model_dump_json()) == made
    assert read_spec(made.model_dump_json()).key == made.key


@pytest.mark.parametrize("option", options("variant"))
def test_a_variant_is_named_after_its_file(option: str) -> None:
    assert spec(f"variant={option}").variant == option


@pytest.mark.parametrize("option", options("encoder"))
def test_every_encoder_gives_its_pyramid(option: str) -> None:
    choices = spec(f"encoder={option}").encoder
    size = max(2 * choices.stride, 32)
    pyramid = build_encoder(choices).eval()(torch.rand(2, 3, size, size))
    sides = [size // choices.stem // 2**k for k in range(len(choices.widths))]
    assert [tuple(level.shape) for level in pyramid] == [
        (2, w, s, s) for w, s in zip(choices.widths, sides, strict=True)
    ]
    assert sides[-1] == size // choices.stride


@pytest.mark.parametrize("option", options("pretext"))
def test_every_pretext_trains_the_u_net(option: str) -> None:
    made = spec("variant=B2", f"pretext={option}")
    assert made.pretrained is not None
    if made.pretrained.pretext.contrastive:
        pytest.skip("nothing is restored: tests/tasks/test_contrast.py")
    unet = UNet(build_encoder(made.encoder))
    pretext = build_pretext(made.pretrained.pretext, made.encoder.widths[-1])
    photo, random = torch.rand(4, 3, 32, 32), torch.Generator().manual_seed(0)
    shown = pretext.corrupt(photo, random)
    pyramid = unet.encoder(shown)
    latent, cost = pretext.latent(pyramid[-1], random)
    restored = unet.decode([*pyramid[:-1], latent])
    assert shown.shape == restored.shape == photo.shape
    assert shown.min() >= 0
    assert shown.max() <= 1
    pretext.loss(Passage(photo, shown, restored, cost)).backward()
    assert all(p.grad is not None for p in unet.parameters())


@pytest.mark.parametrize(
    "file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_sweep_says_question_price_and_expectation(file: Path) -> None:
    text = file.read_text()
    assert all(word in text for word in ("# Question:", "# Price:", "# Expect:"))
    assert f"sweep: {file.stem}" in text


@pytest.mark.parametrize("budget", options("budget"))
@pytest.mark.parametrize(
    "file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_sweep_can_be_asked_at_every_budget(file: Path, budget: str) -> None:
    swept = OmegaConf.to_container(OmegaConf.load(file).hydra.sweeper.params)
    assert isinstance(swept, dict)
    values = {
        str(key): str(value).split(",") for key, value in swept.items() if "(" not in str(value)
    }
    cells = [
        [f"{key}={value}" for key, value in zip(values, cell, strict=True)]
        for cell in product(*values.values())
    ]
    specs = [spec(f"budget={budget}", *cell) for cell in cells]
    variants = {one.variant for one in specs}
    assert variants == set(values.get("variant", [spec().variant]))


def test_more_steps_stand_on_the_same_pretraining() -> None:
    asked = [spec("variant=DAE", f"budget.classify.min_steps={steps}") for steps in (20, 80, 160)]
    assert len({one.key for one in asked}) == 3
    assert len({one.pretrained.key for one in asked if one.pretrained}) == 1
