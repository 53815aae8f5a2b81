"""A target of your own: the encoder whose embeddings s_y are predicted."""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from jepakit import register
from pydantic import Field
from torch import Tensor, nn


@register("target", "my_component")
class MyComponent(nn.Module):
    """θ̄ <- θ̄ + rate · (θ - θ̄) after every optimizer step; starts as a copy; no gradient.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        rate: Share of the distance to the online encoder that each update covers.
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
        """Follow the online encoder; call it after each optimizer step."""
        for mine, online in zip(self.encoder.state_dict().values(), encoder.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(online, self.rate)
            else:  # integer buffers, such as counters, are copied
                mine.copy_(online)
