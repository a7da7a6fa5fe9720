"""Learning from unlabelled images, by clusters and confident predictions, never from their hidden
labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import needed, spec
from made_specs import SMALL, fitted, job_for
from small_data import data_for

from birds.core.checkpoint import saved_weights
from birds.core.spec import RunSpec, UserError
from birds.methods import create_method
from birds.methods.classify._by_gradient import GradientClassifier
from birds.methods.pretraining.autoencoder import Autoencoder

pytestmark = pytest.mark.filterwarnings("ignore")
Words = tuple[str, ...]
SAME = (*SMALL, "budget.classify.lr=0.01", "label_smoothing=0", "dropout=0")
KM = ("variant=KM", *SAME)
FIXMATCH = ("variant=FixMatch", *SAME, "extra_loss.threshold=0.34")
B2, A = ("variant=B2", *SAME), ("variant=A", *SAME, "budget.classify.best_from=0.5")


def trained(run: RunSpec, root: Path, hidden: int | None = None) -> dict[str, torch.Tensor]:
    """The weights that a run saves; `hidden`: the class that unlabelled images get as a wrong
    label.
    """
    given = tuple(Autoencoder(source, 4).eval() for source in run.needs)
    job = job_for(run, data_for(run, hidden=hidden), root, given)
    fitted(job)
    learns_beside = run.method.options["extra_loss"]["name"] != "none"
    columns = job.folder.curves_file.read_text().splitlines()[0].split(",")
    assert ("train_beside_loss" in columns) is learns_beside
    return saved_weights(job.folder)


@pytest.mark.parametrize(("asked", "same"), [(KM, B2), (FIXMATCH, A)], ids=["KM", "FixMatch"])
def test_the_unlabelled_teach_but_not_their_labels(
    asked: Words, same: Words, tmp_path: Path
) -> None:
    """With weight 0, KM equals B2 and FixMatch equals A: unlabelled images then change nothing, not
    even BatchNorm.
    """
    made = spec(*asked)
    seen = trained(made, tmp_path / "seen")
    lied_to = trained(made, tmp_path / "lied", hidden=1)
    alone = GradientClassifier(made, ("A", "B", "C"), 1)
    assert seen.keys() == alone.state_dict().keys(), "the checkpoint is a classifier alone"
    assert all(torch.equal(value, lied_to[name]) for name, value in seen.items())
    ignored = trained(spec(*asked, "extra_loss.weight=0"), tmp_path / "ignored")
    plain = trained(spec(*same), tmp_path / "plain")
    for name, value in plain.items():
        torch.testing.assert_close(ignored[name], value, msg=name)
    deep = "encoder.levels.2.0.weight"
    assert not torch.allclose(ignored[deep], seen[deep])


def test_clusters_are_of_the_unlabelled_images_alone_one_for_each_class(tmp_path: Path) -> None:
    made = spec(*KM)
    given = tuple(Autoencoder(source, 4).eval() for source in made.needs)
    job = job_for(made, data_for(made), tmp_path, given)
    found = create_method(job).beside.cluster.numpy()
    assert set(np.flatnonzero(found >= 0)) == set(job.data.rows["unlabelled"])
    assert set(found[job.data.rows["unlabelled"]]) == {0, 1, 2}
    again = create_method(job).beside.cluster.numpy()
    assert np.array_equal(found, again)


def test_fixmatch_learns_only_from_what_it_is_sure_of(tmp_path: Path) -> None:
    made = spec(*FIXMATCH, "extra_loss.threshold=0.9")
    job = job_for(made, data_for(made), tmp_path)
    classifier = create_method(job)
    shares: list[float] = []
    classifier.log = lambda name, value, **k: shares.append(float(value))
    loss = classifier.beside.loss
    assert loss(classifier, job.data) == 0, "an untrained head is sure of nothing"
    torch.nn.init.normal_(classifier.head.linear.bias, std=100)
    assert loss(classifier, job.data) >= 0
    assert shares == [0, 1]


def test_a_ratio_asks_for_more_unlabelled_images_a_step(tmp_path: Path) -> None:
    seen: dict[int, list[int]] = {}
    for ratio in (1, 2):
        made = spec(*FIXMATCH, f"extra_loss.ratio={ratio}", "budget.classify.batch=4")
        job = job_for(made, data_for(made), tmp_path)
        classifier = create_method(job)
        classifier.log = lambda *a, **k: None
        forward = classifier.forward
        counts = seen.setdefault(ratio, [])

        def counted(image: torch.Tensor, real: Any = forward, to: Any = counts) -> torch.Tensor:
            to.append(len(image))
            return real(image)

        classifier.forward = counted
        classifier.beside.loss(classifier, job.data)
    assert seen == {1: [4, 4], 2: [8, 8]}


def test_a_threshold_that_smoothing_forbids_is_refused() -> None:
    with pytest.raises(UserError, match="choose label_smoothing=0 or a smaller threshold"):
        spec("variant=FixMatch", "label_smoothing=0.1")
    with pytest.raises(UserError, match="threshold=1"):
        spec("variant=FixMatch", "extra_loss.threshold=1")
    lower = spec("variant=FixMatch", "extra_loss.threshold=0.8")
    assert lower.key != spec("variant=FixMatch").key
    assert needed("variant=KM") == needed("variant=B2")
