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
    """θ̄ ← decay · θ̄ + (1 - decay) · θ, all tensors in one call; integer tensors are copied."""
    pairs = list(zip(averages, online, strict=True))
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    if floats:
        torch._foreach_lerp_([average for average, _ in floats], [value for _, value in floats], 1 - decay)
    for average, value in pairs:
        if not average.is_floating_point():
            average.copy_(value)
        elif not isinstance(average, nn.Parameter):  # of a mask's infinities the average is not a number
            average.copy_(torch.where(value.isfinite(), average, value))
