"""Accuracy under noise: exact without noise, nested over levels, and the same noise for every run
of a data set.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from composing import spec
from made_specs import SMALL, fitted, given, job_for
from small_data import data_for

from birds.data.module import NOISY
from birds.data.reopen import noisy_rows
from birds.methods.classify._robustness import accuracy_under_noise, hits_under_noise

LEVELS = (0.05, 0.1, 0.2, 0.4, 0.6)


def shown_under_noise(
    seed: int = 0, rows: tuple[int, ...] = (4, 9), channels: int = 3
) -> list[torch.Tensor]:
    """The classifier's input for grey images, at each noise level."""
    seen: list[torch.Tensor] = []

    def remember(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return torch.zeros(len(image), 3)

    batch = {
        "image": torch.full((len(rows), channels, 128, 128), 0.5),
        "label": torch.zeros(len(rows), dtype=torch.long),
        "row": torch.tensor(rows),
    }
    hits = hits_under_noise(remember, batch, LEVELS, seed)
    assert hits.shape == (len(rows), len(LEVELS))
    return seen


@pytest.mark.parametrize("channels", [1, 3])
def test_the_fractions_are_those_asked_for_half_black_half_white_and_nested(channels: int) -> None:
    seen = shown_under_noise(channels=channels)
    for noise, image in zip(LEVELS, seen, strict=True):
        assert (image == 0).float().mean().item() == pytest.approx(noise / 2, abs=0.01)
        assert (image == 1).float().mean().item() == pytest.approx(noise / 2, abs=0.01)
        assert ((image == image[:, :1]).all(1)).all(), "a pixel is replaced in all its channels"
    for less, more in pairwise(seen):
        replaced = less != 0.5
        assert torch.equal(less[replaced], more[replaced])


def test_noise_is_a_function_of_the_data_sets_seed_and_the_image_alone() -> None:
    first, again = shown_under_noise()[-1], shown_under_noise(rows=(9, 4, 7))[-1]
    assert torch.equal(first[0], again[1])
    assert torch.equal(first[1], again[0])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, shown_under_noise(seed=1)[-1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", ["variant=A", "variant=B1", "variant=B1 head=svm"])
def test_every_classifier_is_tested_under_noise(tmp_path: Path, words: str) -> None:
    """Also a classifier on stored features and a fitted one."""
    made = spec(*words.split(), *SMALL)
    job = job_for(made, data_for(made), tmp_path, given(made))
    _, measured = fitted(job)
    saved = np.load(job.folder.predictions_file)
    hits = saved["test_hits_noise"]
    assert hits.shape == (12, 1 + len(LEVELS))
    assert np.array_equal(hits[:, 0], saved["test_logits"].argmax(1) == saved["test_label"])
    assert {"train", "noise", "save"} <= set(job.watch.seconds())
    assert measured["test_noise"] == [0.0, *LEVELS]
    assert measured["test_accuracy_noise"] == pytest.approx(hits.mean(0).tolist())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", ["variant=A", "variant=B0 head=svm"])
def test_without_robustness_the_record_says_nothing_of_noise(tmp_path: Path, words: str) -> None:
    made = spec(*words.split(), *SMALL, "robustness=false")
    job = job_for(made, data_for(made), tmp_path, given(made))
    _, measured = fitted(job)
    assert not [name for name in measured if "noise" in name]
    assert np.load(job.folder.predictions_file)["test_hits_noise"].shape == (12, 1)


@pytest.mark.filterwarnings("ignore")
def test_levels_are_those_asked_for_and_two_seeds_see_the_same_noise(tmp_path: Path) -> None:
    seen: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for seed, shown in seen.items():
        made = spec("variant=A", *SMALL, f"seed={seed}", "robustness_levels=[0.3]")
        job = job_for(made, data_for(made), tmp_path / str(seed))
        assert made.noise_levels == (0.3,)
        batch = next(job.data.evaluation_batches("noisy"))

        def remember(image: torch.Tensor, shown: list[torch.Tensor] = shown) -> torch.Tensor:
            shown.append(image)
            return torch.zeros(len(image), 3)

        hits_under_noise(remember, batch, made.noise_levels, made.data.seed)
    assert torch.equal(seen[0][0], seen[1][0])


def test_accuracy_is_the_mean_over_images_at_each_level() -> None:
    hits = torch.tensor([[True, True, False], [True, False, False]])
    found = accuracy_under_noise(hits, (0.1, 0.5))
    assert found == {
        "test_noise": [0.0, 0.1, 0.5],
        "test_accuracy_noise": [1.0, 0.5, 0.0],
        "test_noise_images": 2,
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", ["variant=A", "variant=B1", "variant=B0 head=svm"])
def test_a_sample_of_the_images_has_the_hits_that_all_images_have(
    tmp_path: Path, words: str
) -> None:
    made = spec(*words.split(), *SMALL)
    hits, names = [], []
    for most in (None, 5):
        data = data_for(made)
        data.rows[NOISY] = noisy_rows(data.images, made.data.seed, most)
        job = job_for(made, data, tmp_path / str(most), given(made))
        _, measured = fitted(job)
        saved = np.load(job.folder.predictions_file)
        hits.append(saved["test_hits_noise"])
        names.append(saved["test_image_noise"].tolist())
        assert measured["test_noise_images"] == len(hits[-1]) == len(names[-1])
        assert measured["test_accuracy_noise"] == pytest.approx(hits[-1].mean(0).tolist())
        right = saved["test_logits"].argmax(1) == saved["test_label"]
        clean = dict(zip(saved["test_image"].tolist(), right, strict=True))
        assert [clean[name] for name in names[-1]] == hits[-1][:, 0].tolist()
    places = [names[0].index(name) for name in names[1]]
    assert len(places) == 5
    assert np.array_equal(hits[0][places], hits[1])


def test_a_smaller_sample_is_a_part_of_a_larger_one() -> None:
    images = data_for(spec("variant=A", *SMALL)).images
    small, large, every = (set(noisy_rows(images, 3, most).tolist()) for most in (4, 9, None))
    assert (len(small), len(large)) == (4, 9)
    assert small < large < every == set(images.rows("test").tolist())
    assert small != set(noisy_rows(images, 4, 4).tolist())
    assert set(noisy_rows(images, 3, 1000).tolist()) == every
