"""Contrastive pretraining: the loss in theory, reproducible views, and learning to find pairs."""

from __future__ import annotations

import math

import pytest
import torch
from composing import needed, spec
from made_specs import SMALL
from small_data import data_for

from birds.core.spec import RunSpec, UserError
from birds.methods.pretraining.autoencoder import Autoencoder
from birds.methods.pretraining.simclr import SimCLR, contrast, partners, similarities


def pretraining(*overrides: str) -> RunSpec:
    return needed("variant=SimCLR", *SMALL, *overrides)


@pytest.mark.parametrize("images", [2, 8, 50])
def test_the_loss_is_chance_when_all_looks_are_alike(images: int) -> None:
    alike = torch.ones(images, 4)
    assert contrast(alike, alike, 0.2).item() == pytest.approx(math.log(2 * images - 1))


def test_the_loss_is_nothing_when_partners_alone_are_alike() -> None:
    apart = torch.eye(8)
    assert contrast(apart, 3 * apart, 0.01).item() == pytest.approx(0, abs=1e-5)
    assert contrast(apart, -apart, 0.2) > contrast(apart, apart, 0.2)


def test_partners_find_each_other() -> None:
    a = torch.randn(6, 5)
    found = similarities(a, a + 1e-3).argmax(1)
    assert torch.equal(found, partners(6, found.device))
    assert torch.equal(partners(6, found.device)[found], torch.arange(12))


def test_looks_are_a_function_of_seed_and_step_and_differ() -> None:
    method, image = SimCLR(pretraining(), 4).eval(), torch.rand(4, 3, 128, 128)
    seen: list[torch.Tensor] = []
    method.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    for step in (0, 0, 1):
        method._two_looks(image, "contrast", step)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert (seen[0] - seen[1]).abs().mean() > 0.01
    assert (seen[0] - seen[4]).abs().mean() > 0.01


def test_it_starts_from_the_encoder_that_all_start_from() -> None:
    method = SimCLR(pretraining(), 4)
    restoring = Autoencoder(needed("variant=B2", *SMALL), 4)
    pairs = zip(method.encoder.parameters(), restoring.encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_it_learns_to_find_partners() -> None:
    torch.set_num_threads(1)
    method, data = SimCLR(pretraining(), 4), data_for(pretraining())
    method.log = lambda *a, **k: None  # type: ignore[method-assign]
    optimizer = torch.optim.AdamW(method.parameters(), 3e-3)
    batch = data.on_after_batch_transfer(data.batch("train", [(0, k) for k in range(12)]), 0)
    losses = []
    for step in range(12):
        loss = method.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_it_goes_on_from_another_pretraining() -> None:
    before = Autoencoder(needed("variant=B2", *SMALL, "seed=3"), 4)
    method = SimCLR(pretraining(), 4, before)
    pairs = zip(method.encoder.parameters(), before.encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_skips_are_no_part_of_it_and_it_restores_nothing() -> None:
    assert pretraining("skips=gated") == pretraining("skips=plain") == pretraining("skip_drop=0.9")
    with pytest.raises(UserError, match="pretraining=simclr restores none"):
        spec("variant=SimCLR", "extra_loss=joint")
    with pytest.raises(UserError, match=r"pretraining\.temperature=0"):
        spec("variant=SimCLR", "pretraining.temperature=0")
