"""How much passes through the decoder's skip connections, for U-Nets and other encoders."""

from __future__ import annotations

import pytest
import torch
from composing import spec
from made_parts import unet

from birds.encoders import Encoder, create_encoder
from birds.methods.corruption import salt_and_pepper
from birds.methods.decoder import Decoder, Gate


def with_decoder(skips: str = "plain", few: int = 0) -> tuple[Encoder, Decoder]:
    encoder = unet().eval()
    return encoder, Decoder(encoder, skips, few).eval()


def test_without_skips_the_image_comes_from_the_deepest_level_alone() -> None:
    encoder, decoder = with_decoder()
    maps = encoder(torch.rand(2, 3, 64, 64))
    other = [level + 1 for level in maps[:-1]] + [maps[-1]]
    keep = torch.tensor([True, False])
    change = (decoder(maps, keep) - decoder(other, keep)).abs().amax((1, 2, 3))
    assert change[0] > 1e-3
    assert change[1] == 0


def test_keeping_every_skip_is_the_plain_u_net() -> None:
    encoder, decoder = with_decoder()
    maps = encoder(torch.rand(2, 3, 64, 64))
    torch.testing.assert_close(decoder(maps), decoder(maps, torch.tensor([True, True])))


def test_a_gate_starts_nearly_closed_and_learns_for_each_channel() -> None:
    gate, skip = Gate(5), torch.rand(2, 5, 8, 8)
    assert (gate(skip) / skip).max() < 0.02
    gate(skip).sum().backward()
    assert gate.opening.grad is not None
    assert gate.opening.grad.shape == (5, 1, 1)
    assert (gate.opening.grad > 0).all()


def test_gated_skips_let_almost_nothing_through_at_first() -> None:
    """A change of the finer levels changes the restored image at least 20 times less than with
    plain skips.
    """
    change = {}
    for skips in ("plain", "gated"):
        encoder, decoder = with_decoder(skips)
        maps = encoder(torch.rand(2, 3, 64, 64))
        other = [level + 1 for level in maps[:-1]] + [maps[-1]]
        change[skips] = (decoder(maps) - decoder(other)).abs().max().item()
    assert 0 < change["gated"] < change["plain"] / 20


def test_narrow_skips_have_the_channels_asked_for() -> None:
    encoder, decoder = with_decoder("narrow", 3)
    assert [(skip.in_channels, skip.out_channels) for skip in decoder.skips] == [(8, 3), (12, 3)]
    assert decoder(encoder(torch.rand(1, 3, 64, 64))).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_it_stands_on_an_encoder_that_is_no_u_net(channels: int, size: int) -> None:
    made = spec("encoder=simple_cnn", f"image.size={size}", f"image.channels={channels}")
    encoder = create_encoder(made.encoder, made.image)
    decoder = Decoder(encoder, "plain")
    image = torch.rand(2, channels, size, size)
    restored = decoder(encoder.maps(encoder(image)))
    assert restored.shape == image.shape
    restored.mean().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.6, 1.0])
def test_salt_and_pepper_replaces_its_fraction_half_black_half_white(noise: float) -> None:
    image = torch.full((8, 3, 64, 64), 0.5)
    noisy = salt_and_pepper(image, noise, torch.Generator().manual_seed(0))
    black, white = (noisy == 0).float().mean().item(), (noisy == 1).float().mean().item()
    assert black == pytest.approx(noise / 2, abs=0.01)
    assert white == pytest.approx(noise / 2, abs=0.01)
    assert ((noisy == noisy[:, :1]).all(dim=1)).all(), "a pixel is replaced in all its channels"
    again = salt_and_pepper(image, noise, torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again)
