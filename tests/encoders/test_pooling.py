"""The pooled features of a pyramid, and their gradients."""

import pytest
import torch
from torch import Tensor

from birds.encoders._pooling import mean_and_maximum


def maps(kind: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    levels = [
        torch.randn(5, channels, *side)
        for channels, side in ((3, (8, 8)), (6, (4, 2)), (2, (1, 1)))
    ]
    return [level.to(kind, memory_format=torch.channels_last).requires_grad_() for level in levels]


def plainly(pyramid: list[Tensor]) -> Tensor:
    found = [level.float() for level in pyramid]
    return torch.cat(
        [level.mean((2, 3)) for level in found] + [level.amax((2, 3)) for level in found], dim=1
    )


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_features_and_gradients_are_those_of_the_formula(
    kind: torch.dtype, tolerance: float
) -> None:
    pyramid = []  # each map has every whole number once, so its maximum is unique
    for level in maps(kind):
        ranks = torch.argsort(torch.rand(level.shape).flatten(2)).view(level.shape)
        pyramid.append(ranks.to(level).requires_grad_())
    weight = torch.randn(5, 2 * (3 + 6 + 2))
    ours = torch.autograd.grad((mean_and_maximum(pyramid) * weight).sum(), pyramid)
    theirs = torch.autograd.grad((plainly(pyramid) * weight).sum(), pyramid)
    assert torch.equal(mean_and_maximum(pyramid), plainly(pyramid))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == kind
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_of_equal_maxima_the_first_gets_the_gradient() -> None:
    level = torch.tensor([0.0, 3.0, 3.0, 1.0]).view(1, 1, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(mean_and_maximum([level])[0, 1], [level])
    assert gradient.flatten().tolist() == [0, 1, 0, 0]


def test_gradients_keep_the_layout() -> None:
    pyramid = maps(torch.float32)
    for gradient in torch.autograd.grad(mean_and_maximum(pyramid).sum(), pyramid):
        assert gradient.is_contiguous(memory_format=torch.channels_last)
