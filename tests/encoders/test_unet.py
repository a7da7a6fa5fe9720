"""The U-Net's encoder: scaling, normalisation, and its version with a strided convolution."""

from __future__ import annotations

import pytest
import torch
from made_parts import unet

from birds.encoders._pooling import mean_and_maximum


def test_its_maps_halve_from_the_stem_on() -> None:
    maps = unet(stem=4).eval()(torch.rand(2, 3, 64, 32))
    assert [tuple(level.shape) for level in maps] == [(2, 8, 16, 8), (2, 12, 8, 4), (2, 16, 4, 2)]


def test_it_can_be_given_larger_images_than_it_was_made_for() -> None:
    assert unet().eval()(torch.rand(1, 3, 96, 160))[-1].shape == (1, 16, 12, 20)


def test_group_norm_leaves_no_batch_statistics_anywhere() -> None:
    encoder = unet(norm="group")
    assert not [name for name, _ in encoder.named_buffers() if "running" in name]
    image = torch.rand(3, 3, 64, 64)
    alone, together = encoder(image[:1])[-1], encoder(image)[-1][:1]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_features_are_mean_and_maximum_of_every_level() -> None:
    encoder = unet().eval()
    maps = encoder(torch.rand(2, 3, 64, 64))
    features = encoder.pool(maps)
    assert features.shape == (2, encoder.feature_dim) == (2, 2 * (8 + 12 + 16))
    assert torch.equal(features, mean_and_maximum(maps))
    torch.testing.assert_close(features[:, :8], maps[0].mean((2, 3)))
    torch.testing.assert_close(features[:, -16:], maps[-1].amax((2, 3)))


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_strided_twin_on_pixels_gives_the_same_maps(stem: int, channels: int) -> None:
    """Its padding has the same value, so maps also agree at the borders."""
    encoder = unet(stem=stem, channels=channels).eval()
    for norm in encoder.modules():
        if hasattr(norm, "running_mean"):
            torch.nn.init.uniform_(norm.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    pixels = torch.randint(0, 256, (2, channels, 64, 64)).float()
    with torch.no_grad():
        ours, twins = encoder(pixels / 255), encoder.for_export().eval()(pixels)
    for ours_level, twins_level in zip(ours, twins, strict=True):
        torch.testing.assert_close(twins_level, ours_level, atol=1e-4, rtol=1e-4)


def test_the_twin_has_no_space_to_depth() -> None:
    names = {type(module).__name__ for module in unet().for_export().modules()}
    assert "PixelUnshuffle" not in names
    first = next(unet(stem=4).for_export().parameters())
    assert first.shape == (8, 3, 12, 12)
