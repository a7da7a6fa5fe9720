"""The optimizer and schedule of pretrainings and classifiers: AdamW with linear warm-up and cosine
decay to zero, by step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from birds.core.spec import Training

Groups = Iterable[tuple[float, Sequence[nn.Parameter]]]


def rate(step: int, total: int, warmup: float) -> float:
    """The fraction of the full learning rate at `step` of `total`.

    It rises linearly over the `warmup` share of the steps, then falls as a cosine to 0.
    """
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total - rise))))


def optimizer_and_schedule(
    groups: Groups, training: Training, steps_per_epoch: int
) -> dict[str, Any]:
    """The return value of `configure_optimizers`.

    Matrices and kernels get weight decay, vectors (norms, biases) do not. Each of `groups` is a
    factor to the learning rate and its parameters.
    """
    options = []
    for factor, parameters in groups:
        every = [p for p in parameters if p.requires_grad]
        lr = factor * training.lr
        options += [
            {
                "params": [p for p in every if p.ndim > 1],
                "lr": lr,
                "weight_decay": training.weight_decay,
            },
            {"params": [p for p in every if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        ]
    optimizer = torch.optim.AdamW([group for group in options if group["params"]], lr=training.lr)
    total = training.epochs * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate(step, total, training.warmup)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
