"""How a slow copy follows the trained weights: JEPA's target encoder, and the algorithms' target networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def tensors(module: nn.Module) -> list[Tensor]:
    """A module's parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


@torch.no_grad()
def follow(averages: Sequence[Tensor], online: Sequence[Tensor], decay: float) -> None:
    """θ̄ ← decay · θ̄ + (1 - decay) · θ, tensor by tensor; integer tensors are copied."""
    for average, value in zip(averages, online, strict=True):
        if average.is_floating_point():
            average.lerp_(value, 1 - decay)
        else:
            average.copy_(value)
