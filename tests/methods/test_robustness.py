"""Accuracy under noise: exact at no noise, nested over fractions, the same for every variant of a
seed.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from contracts.test_configs import spec
from tasks.test_classify import SMALL, data_for, trained

from birds.methods.classify.robustness import NOISE, accuracy_under_noise, hits_under_noise
from birds.methods.classify.standard import Classify


def shown_under_noise(seed: int = 0, rows: tuple[int, ...] = (4, 9)) -> list[torch.Tensor]:
    """What a classifier gets to see of grey photos, fraction by fraction."""
    seen: list[torch.Tensor] = []

    def remember(photo: torch.Tensor) -> torch.Tensor:
        seen.append(photo)
        return torch.zeros(len(photo), 3)

    batch = {
        "photo": torch.full((len(rows), 3, 128, 128), 0.5),
        "label": torch.zeros(len(rows), dtype=torch.long),
    }
    hits = hits_under_noise(remember, batch | {"row": torch.tensor(rows)}, seed)
    assert hits.shape == (len(rows), len(NOISE) - 1)
    return seen


def test_the_fractions_are_those_asked_for_half_black_half_white_and_nested() -> None:
    seen = shown_under_noise()
    for noise, photo in zip(NOISE[1:], seen, strict=True):
        assert (photo == 0).float().mean().item() == pytest.approx(noise / 2, abs=0.01)
        assert (photo == 1).float().mean().item() == pytest.approx(noise / 2, abs=0.01)
    for less, more in pairwise(seen):
        replaced = less != 0.5
        assert torch.equal(less[replaced], more[replaced])


def test_noise_is_a_function_of_seed_and_photo_alone() -> None:
    first, again = shown_under_noise()[-1], shown_under_noise(rows=(9, 4, 7))[-1]
    assert torch.equal(first[0], again[1])
    assert torch.equal(first[1], again[0])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, shown_under_noise(seed=1)[-1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("variant", "cached"), [("A", False), ("B1", True)])
def test_every_classifier_is_tested_under_noise_also_one_on_cached_features(
    variant: str, cached: bool
) -> None:
    task, data = (
        Classify(spec(f"variant={variant}", *SMALL), 3, 4),
        data_for(spec(f"variant={variant}", *SMALL)),
    )
    if cached:
        task.encode_once(data, torch.device("cpu"))
    logits = trained(task, data)
    label = task.tested()["test"]["label"]
    hits = task.hits_under_noise()
    assert torch.equal(hits[:, 0], logits.argmax(1) == label)
    measured = accuracy_under_noise(hits)
    assert measured["test_noise"] == list(NOISE)
    means = [hits[:, k].double().mean().item() for k in range(len(NOISE))]
    assert measured["test_accuracy_noise"] == pytest.approx(means)
