"""Contrasting: tell which two of many looks are of one photo (SimCLR, Chen et al. 2020,
arXiv:2002.05709).

Nothing is restored, so there is no decoder and no `Pretext` here, but the loss that
`birds.methods.pretraining.contrast` trains with.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def similarities(a: Float[Tensor, "B D"], b: Float[Tensor, "B D"]) -> Float[Tensor, "2B 2B"]:
    """Cosines between all looks, first those of `a`, then those of `b`; -inf between a look and
    itself.
    """
    looks = F.normalize(torch.cat([a, b]).float(), dim=1)
    return (looks @ looks.T).fill_diagonal_(-torch.inf)


def partners(photos: int, device: torch.device) -> Tensor:
    """For each of 2 x `photos` looks, the place of the other look of its photo."""
    return torch.arange(2 * photos, device=device).roll(photos)


def contrast(
    a: Float[Tensor, "B D"], b: Float[Tensor, "B D"], temperature: float
) -> Float[Tensor, ""]:
    """The cross entropy of finding each look's partner among all others: log(2B - 1) when all look
    alike.
    """
    return F.cross_entropy(similarities(a, b) / temperature, partners(len(a), a.device))
