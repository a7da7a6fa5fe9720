"""A sweep that lists its cells by name: the meaning of each, and errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from composing import CONFIGS, ROOT
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from birds.core.spec import UserError
from birds.launch.hydra_compose import Composer


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    """The function that composes the jobs of `sweeps=words`."""
    where = pytest.MonkeyPatch()
    where.setenv("BIRDS_HOME", str(ROOT))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", [], return_hydra_config=True)
        yield Composer(GlobalHydra.instance().config_loader(), config)
    where.undo()


def test_a_cell_stands_for_its_overrides_and_for_no_other(composer: Composer) -> None:
    base, orb, forest = (
        composer(["sweeps=words", f"cell={name}"]) for name in ("base", "orb", "forest")
    )
    assert (base.encoder.descriptor, orb.encoder.descriptor) == ("sift", "orb")
    assert (base.head.name, orb.head.name, forest.head.name) == ("svm", "svm", "forest")
    assert {base.variant.name, orb.variant.name, forest.variant.name} == {"Words"}
    assert composer(["sweeps=words", "cell=A"]).encoder.name == "unet_s"


def test_cells_lie_around_what_the_command_line_asks_for(composer: Composer) -> None:
    asked = ["sweeps=words", "seed=3", "encoder.words=400", "head=knn"]
    assert composer([*asked, "cell=kaze"]).encoder.words == 400
    assert composer([*asked, "cell=words_100"]).encoder.words == 100
    assert composer([*asked, "cell=kaze"]).head.name == "knn"
    assert composer([*asked, "cell=forest"]).head.name == "forest"
    assert composer([*asked, "cell=forest"]).seed == 3


def test_a_cell_that_is_not_listed_is_refused_with_those_that_are(composer: Composer) -> None:
    with pytest.raises(UserError, match=r"no such cell: did you mean flann\?|There are: base"):
        composer(["sweeps=words", "cell=flan"])
    with pytest.raises(UserError, match="choose a sweep with cells"):
        composer(["cell=base"])
