"""A target of one's own: the encoder whose embeddings s_y are predicted."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from jepakit import register


@register("target", "my_component")
class MyComponent(nn.Module):
    """θ̄ <- θ̄ + rate · (θ - θ̄) after every optimizer step; starts as a copy, and no gradient reaches it.

    Source: a choice. (Name authors, year, title and equation where there are any.)

    Args:
        rate: Share of the way to the online encoder that each update goes.
    """

    def __init__(self, encoder: nn.Module, *, rate: Annotated[float, Field(gt=0, le=1)] = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D]."""
        return self.encoder(pixels)

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Follow the online encoder; called after the optimizer's step."""
        for mine, online in zip(self.encoder.state_dict().values(), encoder.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(online, self.rate)
            else:  # a counter is copied
                mine.copy_(online)
