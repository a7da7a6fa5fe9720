"""What a run is: equal work has equal keys, and keys never change by accident."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contracts.test_configs import composed, spec

from birds.core.spec import UserError, spec_from_config

GOLDEN = Path(__file__).parent / "golden" / "keys.json"


def test_keys_are_what_they_were() -> None:
    """A change here means that everybody's finished runs are lost to them: put RECIPE up instead,
    and say why.
    """
    asked = json.loads(GOLDEN.read_text())
    now = {overrides: spec(*overrides.split()).key for overrides in asked}
    assert now == asked


@pytest.mark.parametrize(
    "ignored",
    [
        "noise=0.5",
        "pretext=denoise",
        "pretext=variational",
        "skips=plain",
        "skips=gated",
        "skip_drop=0.9",
        "pool=all_species",
        "batchnorm=frozen",
        "joint_weight=0.3",
    ],
)
def test_a_variant_ignores_what_it_does_not_read(ignored: str) -> None:
    assert spec("variant=A", ignored).key == spec("variant=A").key


@pytest.mark.parametrize("choice", ["lr_decay=0.7", "ema=0.99", "encoder.norm=group"])
def test_what_helps_fine_tuning_is_for_a_too(choice: str) -> None:
    assert spec("variant=A", choice).key != spec("variant=A").key


@pytest.mark.parametrize(
    ("variant", "choice", "read"),
    [
        ("B1", "lr_decay=0.7", False),
        ("B1", "batchnorm=frozen", False),
        ("B1", "ema=0.99", True),
        ("B2", "batchnorm=frozen", True),
        ("B2", "joint_weight=0.3", False),
        ("B2", "skip_channels=9", False),
        ("B2 skips=narrow", "skip_channels=9", True),
        ("B2 skips=gated", "skip_drop=0.9", False),
        ("B2 transfer=joint", "joint_weight=0.3", True),
        ("B2", "pool=all_species", True),
        ("B0", "pretext=masked", False),
    ],
)
def test_a_choice_is_in_the_key_of_what_reads_it(variant: str, choice: str, read: bool) -> None:
    asked = [f"variant={variant.split()[0]}", *variant.split()[1:]]
    assert (spec(*asked, choice).key != spec(*asked).key) is read


def test_all_that_is_done_with_a_pretraining_shares_it() -> None:
    made = [
        spec("variant=DAE", f"transfer={transfer}", "ema=0.9")
        for transfer in ("finetune", "frozen", "joint")
    ]
    assert len({one.key for one in made}) == 3
    assert {one.pretrained.key for one in made if one.pretrained} == {
        spec("variant=DAE").pretrained.key
    }  # type: ignore[union-attr]
    assert [one.training.lr for one in made] == [0.002, 0.003, 0.002]


def test_the_wider_pool_is_known_by_its_contents() -> None:
    values = composed("variant=B2", "pool=/some/folder")
    a, b = (spec_from_config(values, "0" * 12, digest) for digest in ("a" * 12, "b" * 12))
    elsewhere = spec_from_config(composed("variant=B2", "pool=/another/folder"), "0" * 12, "a" * 12)
    assert a.key == elsewhere.key != b.key


def test_frozen_and_fine_tuned_share_one_pretraining() -> None:
    frozen, tuned = spec("variant=B1"), spec("variant=B2")
    assert frozen.pretrained is not None
    assert frozen.pretrained == tuned.pretrained
    assert frozen.key != tuned.key


def test_what_only_classifiers_read_does_not_change_the_pretraining() -> None:
    changed = spec("variant=B2", "budget.classify.lr=0.5", "label_smoothing=0", "dropout=0")
    assert changed.pretrained == spec("variant=B2").pretrained


@pytest.mark.parametrize(
    "where", ["runs_dir=/elsewhere", "device=cuda", "precision=32", "slots=7", "tracking=none"]
)
def test_where_a_run_runs_is_not_what_it_is(where: str) -> None:
    assert spec("variant=B2", where).key == spec("variant=B2").key


@pytest.mark.parametrize(
    "change", ["split=70", "seed=1", "data.size=160", "encoder=unet_m", "budget=full"]
)
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
        ("variant=A transfer=frozen", "variant=A is transfer=scratch"),
        ("variant=B1 transfer=finetune", "variant=B1 is transfer=frozen"),
        ("variant=DAE transfer=scratch", "variant=DAE is transfer=finetune"),
        ("variant=DVAE skips=plain", "bypass the latent"),
        ("variant=DVAE skips=gated", "choose skips=dropout"),
        ("variant=DVAE skip_drop=0", "choose skips=dropout with skip_drop above 0"),
        ("variant=B2 pretext=masked pretext.patch=20", "choose 16"),
        ("variant=B2 pretext=masked pretext.hidden=1", "choose 0 to 0.95"),
        ("variant=B2 pretext=masked pretext.loss=some", "choose all or hidden"),
        ("ema=1", "ema=1"),
    ],
)
def test_nonsense_is_refused_with_its_cure(override: str, cure: str) -> None:
    with pytest.raises(UserError, match=cure):
        spec(*override.split())


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        spec().split = 50  # type: ignore[misc]
