"""The identity of a run: equal work has equal keys, and keys never change by accident."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from composing import DIGEST, composed, needed, spec

from birds.core.spec import RunSpec, UserError, read_spec
from birds.launch.chosen import spec_from_config

GOLDEN = Path(__file__).parent / "golden" / "keys.json"


def test_keys_are_what_they_were() -> None:
    """If a key changes here, users lose finished runs: increase RECIPE instead, and say why."""
    asked = json.loads(GOLDEN.read_text())
    now = {overrides: spec(*overrides.split()).key for overrides in asked}
    assert now == asked


@pytest.mark.parametrize(
    "ignored",
    [
        "noise=0.5",
        "pretraining=denoise",
        "pretraining=variational",
        "skips=plain",
        "skips=gated",
        "skip_drop=0.9",
        "pool=all_classes",
        "last_stages=2",
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
        ("B1 head=svm", "ema=0.99", False),
        ("B1 head=svm", "label_smoothing=0", False),
        ("B1 head=svm", "dropout=0", False),
        ("B1 head=svm", "budget.frozen.lr=1", False),
        ("B1 head=svm", "head.C=2", True),
        ("B2", "batchnorm=frozen", True),
        ("B2", "skip_channels=9", False),
        ("B2 skips=narrow", "skip_channels=9", True),
        ("B2 skips=gated", "skip_drop=0.9", False),
        ("B2 extra_loss=joint", "extra_loss.weight=0.3", True),
        ("B2 train=last_stages", "last_stages=2", True),
        ("B2", "pool=all_classes", True),
        ("B2", "robustness=false", True),
        ("B0", "pretraining=masked", False),
    ],
)
def test_a_choice_is_in_the_key_of_what_reads_it(variant: str, choice: str, read: bool) -> None:
    asked = [f"variant={variant.split()[0]}", *variant.split()[1:]]
    assert (spec(*asked, choice).key != spec(*asked).key) is read


def test_all_that_is_done_with_a_pretraining_shares_it() -> None:
    ways = ("train=all", "train=head", "extra_loss=joint", "train=head head=knn")
    made = [spec("variant=DAE", *way.split(), "ema=0.9") for way in ways]
    assert len({run.key for run in made}) == len(ways)
    shared = needed("variant=DAE").key
    assert {run.needs[0].key for run in made} == {shared}
    rates = [run.training.lr if run.training else None for run in made]
    assert rates == [0.002, 0.003, 0.002, None]


def test_the_wider_pool_is_known_by_its_contents() -> None:
    values = composed("variant=B2", "pool=/some/folder")
    first = spec_from_config(values, DIGEST, "a" * 12)
    second = spec_from_config(values, DIGEST, "b" * 12)
    elsewhere = spec_from_config(composed("variant=B2", "pool=/another/folder"), DIGEST, "a" * 12)
    assert first.key == elsewhere.key != second.key
    assert first.needs[0].key == elsewhere.needs[0].key != second.needs[0].key


def test_frozen_and_fine_tuned_share_one_pretraining() -> None:
    frozen, tuned = spec("variant=B1"), spec("variant=B2")
    assert len(frozen.needs) == 1
    assert frozen.needs == tuned.needs
    assert frozen.key != tuned.key


@pytest.mark.parametrize(
    "choice",
    [
        "budget.classify.lr=0.5",
        "label_smoothing=0",
        "dropout=0",
        "robustness=false",
        "robustness_levels=[0.3]",
        "variant=KM",
        "head=mlp",
        "train=last_stages",
    ],
)
def test_what_only_classifiers_read_does_not_change_the_pretraining(choice: str) -> None:
    assert needed("variant=B2", choice).key == needed("variant=B2").key


@pytest.mark.parametrize(
    "where",
    ["runs_dir=/elsewhere", "device=cuda", "precision=32", "slots=7", "tracking=none", "sweep=x"],
)
def test_where_a_run_runs_is_not_what_it_is(where: str) -> None:
    assert spec("variant=B2", where).key == spec("variant=B2").key


@pytest.mark.parametrize(
    "change",
    [
        "split=70",
        "split=0",
        "data.labels_per_class=3",
        "seed=1",
        "image.size=160",
        "image.channels=1",
        "image.resize=squash",
        "data.classes=5",
        "data.test=auto",
        "encoder=unet_m",
        "budget=full",
    ],
)
def test_what_changes_numbers_changes_the_key(change: str) -> None:
    assert spec("variant=B2", change).key != spec("variant=B2").key
    assert needed("variant=B2", change).key != needed("variant=B2").key


def test_a_family_differs_in_the_seed_alone() -> None:
    assert spec("variant=B2", "seed=1").family == spec("variant=B2").family
    assert spec("variant=B2", "split=70").family != spec("variant=B2").family
    assert spec("variant=B2", "noise=0.4").family == spec("variant=B2").family
    assert spec("variant=DAE", "noise=0.4").family != spec("variant=DAE").family


def test_data_with_other_contents_is_another_run() -> None:
    values = composed()
    assert spec_from_config(values, "a" * 12).key != spec_from_config(values, "b" * 12).key


CHAIN = ("variant=B2", "+pretraining@pretraining.after=simclr")


def test_a_chain_of_three_is_three_runs_from_the_deepest_on() -> None:
    run = spec(*CHAIN)
    lineage = list(run.lineage())
    assert [one.variant for one in lineage] == ["simclr", "autoencode", "B2"]
    assert [one.depth for one in lineage] == [0, 1, 2]
    assert lineage[0].key == needed("variant=SimCLR").key, "alone or in a chain, it is one run"
    assert lineage[1].key != needed("variant=B2").key
    assert read_spec(run.model_dump_json()) == run


def test_a_chain_differs_by_what_stands_deepest() -> None:
    hotter = spec(*CHAIN, "pretraining.after.temperature=0.5")
    assert hotter.key != spec(*CHAIN).key
    assert hotter.family == spec(*CHAIN, "pretraining.after.temperature=0.5", "seed=1").family


def test_a_run_shares_cut_and_seed_with_what_it_needs() -> None:
    run = spec("variant=B2")
    other: RunSpec = run.needs[0].model_copy(update={"seed": 5})
    values = dict(run) | {"needs": (other,)}
    with pytest.raises(ValueError, match="must share split and seed"):
        RunSpec.model_validate(values)


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("split=-1", "choose 0 to 99"),
        ("split=100", "choose 0 to 99"),
        ("data.labels_per_class=0", "labels_per_class=0"),
        ("robustness=maybe", "choose true or false"),
        ("robustness_levels=[0.2,0.1]", "give increasing fractions above 0"),
        ("robustness_levels=[0,0.1]", "give increasing fractions above 0"),
        ("variant=DAE noise=-0.1", "noise=-0.1"),
        ("image.size=7", "choose 8 to 4096"),
        ("image.size=136", "choose image.size=128"),
        ("image.size=150", "choose image.size=144"),
        ("image.channels=2", "3 for colour or 1 for grey"),
        ("encoder=simple_cnn image.size=30", "choose image.size=32"),
        ("variant=B1 extra_loss=joint", "choose train=all or train=last_stages"),
        ("variant=A extra_loss=joint", "choose start=run"),
        ("variant=A extra_loss=clusters", "choose start=run"),
        ("variant=A head=svm", "choose train=head"),
        ("variant=B0 extra_loss=fixmatch", "choose train=all"),
        ("variant=B0 head=knn extra_loss=fixmatch", "choose head=linear"),
        ("variant=SimCLR extra_loss=joint", "restores none"),
        ("variant=DVAE skips=plain", "bypass the latent"),
        ("variant=DVAE skips=gated", "choose skips=dropout"),
        ("variant=DVAE skip_drop=0", "choose skips=dropout with skip_drop above 0"),
        ("variant=B2 pretraining=masked pretraining.patch=20", "choose 16"),
        ("variant=B2 pretraining=masked pretraining.hidden=1", "pretraining.hidden=1"),
        ("variant=B2 pretraining=masked pretraining.loss=some", "choose all or hidden"),
        ("variant=FixMatch label_smoothing=0.1", "label_smoothing=0 or a smaller threshold"),
        ("variant=FixMatch extra_loss.threshold=1", "extra_loss.threshold=1"),
        ("head.dropout=1", "head.dropout=1"),
        ("ema=1", "ema=1"),
        ("start=pretrained", "choose init or run"),
        ("train=everything", "choose head, last_stages or all"),
        ("pool=all_species", "pool=all_classes"),
    ],
)
def test_nonsense_is_refused_with_its_cure(override: str, cure: str) -> None:
    with pytest.raises(UserError, match=cure):
        spec(*override.split())


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        spec().split = 50  # type: ignore[misc]


@pytest.mark.parametrize("make", [spec, needed], ids=["classifier", "pretraining"])
def test_a_spec_survives_its_file(make: Callable[..., RunSpec]) -> None:
    made = make("variant=DVAE", "data.labels_per_class=4", "data=fashion_mnist", "encoder=unet_xs")
    again = read_spec(made.model_dump_json())
    assert again == made
    assert again.key == made.key
