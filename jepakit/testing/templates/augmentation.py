"""An augmentation of your own: a random change of stacks that keeps their meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from jepakit import register
from pydantic import Field
from torch import Tensor, nn

if TYPE_CHECKING:
    from jepakit import FrameShape


@register("augmentation", "my_component")
class MyComponent(nn.Module):
    """Adds a random integer in [-amount, amount] to all pixels of a stack, clamped to 0..255. Each stack draws its own.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        amount: Largest change in brightness.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(self, frames: FrameShape, *, amount: Annotated[int, Field(ge=0, le=255)] = 16) -> None:
        super().__init__()
        if frames.height == 1:
            raise ValueError("kind needs images; these frames are state vectors")
        self.amount = amount

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [B, K, C, H, W] -> uint8, the same shape."""
        # Always drawn on the CPU, so that one generator decides on every device.
        shift = torch.randint(-self.amount, self.amount + 1, (len(pixels), 1, 1, 1, 1), device="cpu").to(pixels.device)
        return (pixels.short() + shift).clamp_(0, 255).to(torch.uint8)
