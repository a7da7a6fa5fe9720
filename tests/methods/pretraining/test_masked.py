"""What masking hides, over which pixels a restored photo is judged, and that it combines with salt
and pepper.
"""

from __future__ import annotations

import pytest
import torch

from birds.methods.pretraining import Passage
from birds.methods.pretraining.masked import GREY, build, hidden_patches


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("hidden", "patch"), [(0.0, 16), (0.25, 8), (0.6, 16), (0.95, 32)])
def test_the_fraction_of_patches_is_exact_for_each_photo_and_patches_are_whole(
    hidden: float, patch: int
) -> None:
    photo = torch.rand(5, 3, 128, 128)
    mask = hidden_patches(photo, hidden, patch, random())
    patches = mask.unfold(2, patch, patch).unfold(3, patch, patch).float().mean((-1, -2))
    assert set(patches.unique().tolist()) <= {0.0, 1.0}, "a patch is hidden in part"
    count = (128 // patch) ** 2
    assert patches.sum((1, 2, 3)).tolist() == [round(hidden * count)] * 5
    if 0 < round(hidden * count) < count:
        assert not torch.equal(mask[0], mask[1]), "every photo hides the same patches"
    assert torch.equal(mask, hidden_patches(photo, hidden, patch, random()))


def test_what_is_not_hidden_is_shown_as_it_is() -> None:
    photo = torch.rand(2, 3, 64, 64) * 0.4
    shown = build(8, hidden=0.5, patch=16, noise=0.0, loss="all").corrupt(photo, random())
    same = (shown == photo).all(1)
    assert same.float().mean() == 0.5
    assert (shown.permute(0, 2, 3, 1)[~same] == GREY).all()


def test_masking_combines_with_salt_and_pepper() -> None:
    photo = torch.full((4, 3, 128, 128), 0.3)
    shown = build(8, hidden=0.5, patch=16, noise=0.2, loss="all").corrupt(photo, random())
    share = {value: (shown == value).float().mean().item() for value in (GREY, 0.0, 1.0)}
    assert share[GREY] == 0.5
    assert share[0.0] == pytest.approx(0.05, abs=0.01)
    assert share[1.0] == pytest.approx(0.05, abs=0.01)


def test_the_loss_can_be_over_hidden_pixels_alone() -> None:
    photo = torch.full((2, 3, 64, 64), 0.2)
    judged = {
        loss: build(8, hidden=0.25, patch=16, noise=0.0, loss=loss) for loss in ("all", "hidden")
    }
    shown = judged["all"].corrupt(photo, random())
    hidden = (shown != photo).any(1, keepdim=True)
    right_where_hidden = Passage(photo, shown, torch.where(hidden, photo, photo + 0.5))
    wrong_where_hidden = Passage(photo, shown, torch.where(hidden, photo + 0.5, photo))
    assert judged["hidden"].loss(right_where_hidden) == 0
    assert judged["all"].loss(right_where_hidden) == pytest.approx(0.75 * 0.25, rel=1e-5)
    assert judged["hidden"].loss(wrong_where_hidden) == pytest.approx(0.25, rel=1e-5)
    nothing_hidden = Passage(photo, photo, photo + 0.5)
    assert judged["hidden"].loss(nothing_hidden) == 0
