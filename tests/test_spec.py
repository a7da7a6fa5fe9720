"""What a run is: equal work has equal keys, and keys never change by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contracts.test_configs import composed, spec

from birds.spec import Refused, spec_from_config

GOLDEN = Path(__file__).parent / "golden" / "keys.json"


def test_keys_are_what_they_were() -> None:
    """A change here means that everybody's finished runs are lost to them: put RECIPE up instead, and say why."""
    asked = json.loads(GOLDEN.read_text())
    now = {overrides: spec(*overrides.split()).key for overrides in asked}
    assert now == asked


@pytest.mark.parametrize("ignored", ["noise=0.5", "pretext=denoise", "skips=plain", "skip_drop=0.9"])
def test_a_variant_ignores_what_it_does_not_read(ignored: str) -> None:
    assert spec("variant=A", ignored).key == spec("variant=A").key


def test_frozen_and_fine_tuned_share_one_pretraining() -> None:
    frozen, tuned = spec("variant=B1"), spec("variant=B2")
    assert frozen.pretrained is not None
    assert frozen.pretrained == tuned.pretrained
    assert frozen.key != tuned.key


def test_what_only_classifiers_read_does_not_change_the_pretraining() -> None:
    changed = spec("variant=B2", "budget.classify.lr=0.5", "label_smoothing=0", "dropout=0")
    assert changed.pretrained == spec("variant=B2").pretrained


@pytest.mark.parametrize("where", ["runs_dir=/elsewhere", "device=cuda", "precision=32", "slots=7", "tracking=none"])
def test_where_a_run_runs_is_not_what_it_is(where: str) -> None:
    assert spec("variant=B2", where).key == spec("variant=B2").key


@pytest.mark.parametrize("change", ["split=70", "seed=1", "data.size=160", "encoder=unet_m", "budget=full"])
def test_what_changes_numbers_changes_the_key(change: str) -> None:
    assert spec("variant=B2", change).key != spec("variant=B2").key


def test_a_family_differs_in_the_seed_alone() -> None:
    assert spec("variant=B2", "seed=1").family == spec("variant=B2").family
    assert spec("variant=B2", "split=70").family != spec("variant=B2").family


def test_data_with_other_contents_is_another_run() -> None:
    values = composed()
    assert spec_from_config(values, "a" * 12).key != spec_from_config(values, "b" * 12).key


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("split=0", "choose 1 to 99"),
        ("split=100", "choose 1 to 99"),
        ("noise=-0.1", "choose 0 to 1"),
        ("data.size=120", "128 or more"),
        ("data.size=136", "choose 128"),
        ("data.size=150", "choose 144"),
    ],
)
def test_nonsense_is_refused_with_its_cure(override: str, cure: str) -> None:
    with pytest.raises(Refused, match=cure):
        spec(override)


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        spec().split = 50  # type: ignore[misc]
