"""What the U-Net's skip connections do, and what salt and pepper does to a photo."""

from __future__ import annotations

import pytest
import torch

from birds.encoders.unet import Encoder, Gate, UNet
from birds.methods.classify.head import Head, pooled
from birds.methods.pretraining.denoise import salt_and_pepper


@pytest.fixture
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(Encoder(2, (8, 12, 16))).eval()


def test_without_skips_the_photo_comes_from_the_deepest_level_alone(unet: UNet) -> None:
    pyramid = unet.encoder(torch.rand(2, 3, 64, 64))
    other = [level + 1 for level in pyramid[:-1]] + [pyramid[-1]]
    keep = torch.tensor([True, False])
    change = (unet.decode(pyramid, keep) - unet.decode(other, keep)).abs().amax((1, 2, 3))
    assert change[0] > 1e-3
    assert change[1] == 0


def test_keeping_every_skip_is_the_plain_u_net(unet: UNet) -> None:
    pyramid = unet.encoder(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(
        unet.decode(pyramid), unet.decode(pyramid, torch.tensor([True, True]))
    )


def test_a_gate_starts_nearly_closed_and_learns_for_each_channel() -> None:
    gate, skip = Gate(5), torch.rand(2, 5, 8, 8)
    assert (gate(skip) / skip).max() < 0.02
    gate(skip).sum().backward()
    assert gate.opening.grad is not None
    assert gate.opening.grad.shape == (5, 1, 1)
    assert (gate.opening.grad > 0).all()


def test_gated_skips_let_almost_nothing_through_at_first() -> None:
    """How much the restored photo changes when the finer levels do: at least 20 times less than
    with plain skips.
    """
    change = {}
    for skips in ("plain", "gated"):
        torch.manual_seed(0)
        unet = UNet(Encoder(2, (8, 12, 16)), skips).eval()
        pyramid = unet.encoder(torch.rand(2, 3, 64, 64))
        other = [level + 1 for level in pyramid[:-1]] + [pyramid[-1]]
        change[skips] = (unet.decode(pyramid) - unet.decode(other)).abs().max().item()
    assert 0 < change["gated"] < change["plain"] / 20


def test_narrow_skips_have_the_channels_asked_for() -> None:
    unet = UNet(Encoder(2, (8, 12, 16)), "narrow", 3)
    assert [(skip.in_channels, skip.out_channels) for skip in unet.skips] == [(8, 3), (12, 3)]
    assert unet.decode(unet.encoder(torch.rand(1, 3, 64, 64))).shape == (1, 3, 64, 64)


def test_group_norm_leaves_no_batch_statistics_anywhere() -> None:
    unet = UNet(Encoder(2, (8, 12, 16), "group"))
    assert not [name for name, _ in unet.named_buffers() if "running" in name]
    photo = torch.rand(3, 3, 64, 64)
    alone, together = unet.encoder(photo[:1])[-1], unet.encoder(photo)[-1][:1]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_the_encoder_can_be_larger_than_its_training_photos(unet: UNet) -> None:
    assert unet.decode(unet.encoder(torch.rand(1, 3, 96, 160))).shape == (1, 3, 96, 160)


def test_features_are_mean_and_maximum_of_every_level(unet: UNet) -> None:
    pyramid = unet.encoder(torch.rand(2, 3, 64, 64))
    features = pooled(pyramid)
    assert features.shape == (2, 2 * (8 + 12 + 16))
    torch.testing.assert_close(features[:, :8], pyramid[0].mean((2, 3)))
    torch.testing.assert_close(features[:, -16:], pyramid[-1].amax((2, 3)))


def test_an_untrained_head_holds_every_species_equally_likely() -> None:
    assert Head(10, 4, 0.0).eval()(torch.rand(3, 10)).abs().max() == 0


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.6, 1.0])
def test_salt_and_pepper_replaces_its_fraction_half_black_half_white(noise: float) -> None:
    photo = torch.full((8, 3, 64, 64), 0.5)
    noisy = salt_and_pepper(photo, noise, torch.Generator().manual_seed(0))
    black, white = (noisy == 0).float().mean().item(), (noisy == 1).float().mean().item()
    assert black == pytest.approx(noise / 2, abs=0.01)
    assert white == pytest.approx(noise / 2, abs=0.01)
    assert ((noisy == noisy[:, :1]).all(dim=1)).all(), "a pixel is replaced in all its channels"
    again = salt_and_pepper(photo, noise, torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again)
