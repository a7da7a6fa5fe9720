"""How well photos are restored: MSE, PSNR and SSIM, with pixels as fractions of 1."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def photo_scores(
    restored: Float[Tensor, "B 3 H W"], photo: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, "B 2"]:
    """For each photo: mean squared error and structural similarity.

    Wang et al. (2004, 10.1109/TIP.2003.819861).
    """
    shown = restored.float().clamp(0, 1)
    mse = (shown - photo).square().mean((1, 2, 3))
    ssim = structural_similarity_index_measure(shown, photo, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor)
    return torch.stack([mse, ssim], dim=1)


def reconstruction_metrics(scores: Float[Tensor, "N 2"], *, prefix: str = "") -> dict[str, float]:
    """mse, psnr and ssim over all photos, from their `photo_scores`.

    psnr is in dB, of the mean MSE; it is infinite for a perfect copy.
    """
    mse, ssim = scores.mean(0).tolist()
    psnr = -10 * math.log10(mse) if mse > 0 else math.inf
    return {f"{prefix}mse": mse, f"{prefix}psnr": psnr, f"{prefix}ssim": ssim}
