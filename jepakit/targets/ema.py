"""The paper's target encoder: an exponential moving average of the online encoder."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from jepakit.registry import register


@register("target", "ema")
class EMA(nn.Module):
    """θ̄ <- decay · θ̄ + (1 - decay) · θ after every optimizer step; starts as an exact copy; no gradient.

    Floating-point buffers are averaged like parameters; all others are copied.

    Source: Kenneweg et al., JEPA for RL, section 2 (Input and Encoder), decay 0.99; Grill et al. 2020, Bootstrap Your Own Latent.

    Args:
        decay: Share of θ̄ kept at each optimizer step. The half-life is ln 2 / (1 - decay) *updates*, 69 at 0.99, so epochs and
            minibatches set the real rate.
    """

    def __init__(self, encoder: nn.Module, *, decay: Annotated[float, Field(ge=0, le=1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D], without gradient."""
        return self.encoder(pixels)

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Move θ̄ towards θ; called after the optimizer's step."""
        for average, online in zip(_tensors(self.encoder), _tensors(encoder), strict=True):
            if average.is_floating_point():
                average.lerp_(online, 1 - self.decay)
            else:
                average.copy_(online)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
