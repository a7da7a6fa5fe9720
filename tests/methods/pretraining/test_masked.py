"""What masking hides, which pixels count in the loss, and masking together with salt and pepper."""

from __future__ import annotations

import pytest
import torch
from composing import needed
from made_specs import SMALL

from birds.methods.corruption import GREY, hidden_patches
from birds.methods.pretraining.autoencoder import Autoencoder, Passage


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def masking(*options: str) -> Autoencoder:
    words = [f"pretraining.{option}" for option in options]
    return Autoencoder(needed("variant=B2", *SMALL, "pretraining=masked", *words), 4)


@pytest.mark.parametrize(("hidden", "patch"), [(0.0, 16), (0.25, 8), (0.6, 16), (0.95, 32)])
def test_the_fraction_of_patches_is_exact_for_each_image_and_patches_are_whole(
    hidden: float, patch: int
) -> None:
    image = torch.rand(5, 3, 128, 128)
    mask = hidden_patches(image, hidden, patch, random())
    patches = mask.unfold(2, patch, patch).unfold(3, patch, patch).float().mean((-1, -2))
    assert set(patches.unique().tolist()) <= {0.0, 1.0}, "a patch is hidden in part"
    count = (128 // patch) ** 2
    assert patches.sum((1, 2, 3)).tolist() == [round(hidden * count)] * 5
    if 0 < round(hidden * count) < count:
        assert not torch.equal(mask[0], mask[1]), "every image hides the same patches"
    assert torch.equal(mask, hidden_patches(image, hidden, patch, random()))


def test_what_is_not_hidden_is_shown_as_it_is() -> None:
    image = torch.rand(2, 3, 64, 64) * 0.4
    shown = masking("hidden=0.5").corrupt(image, random())
    same = (shown == image).all(1)
    assert same.float().mean() == 0.5
    assert (shown.permute(0, 2, 3, 1)[~same] == GREY).all()


def test_masking_combines_with_salt_and_pepper() -> None:
    image = torch.full((4, 3, 128, 128), 0.3)
    shown = masking("hidden=0.5", "noise=0.2").corrupt(image, random())
    share = {value: (shown == value).float().mean().item() for value in (GREY, 0.0, 1.0)}
    assert share[GREY] == 0.5
    assert share[0.0] == pytest.approx(0.05, abs=0.01)
    assert share[1.0] == pytest.approx(0.05, abs=0.01)


def test_the_loss_can_be_over_hidden_pixels_alone() -> None:
    image = torch.full((2, 3, 64, 64), 0.2)
    everywhere, where_hidden = (
        masking("hidden=0.25", f"loss={pixels}") for pixels in ("all", "hidden")
    )
    shown = everywhere.corrupt(image, random())
    hidden = (shown != image).any(1, keepdim=True)
    right_where_hidden = Passage(image, shown, torch.where(hidden, image, image + 0.5))
    wrong_where_hidden = Passage(image, shown, torch.where(hidden, image + 0.5, image))
    assert where_hidden.loss(right_where_hidden) == 0
    assert everywhere.loss(right_where_hidden).item() == pytest.approx(0.75 * 0.25, rel=1e-5)
    assert where_hidden.loss(wrong_where_hidden).item() == pytest.approx(0.25, rel=1e-5)
    nothing_hidden = Passage(image, image, image + 0.5)
    assert where_hidden.loss(nothing_hidden) == 0
