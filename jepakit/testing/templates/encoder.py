"""An encoder of your own: pixels to the embedding s_x."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepakit import register
from pydantic import PositiveInt
from torch import Tensor, nn

if TYPE_CHECKING:
    from jepakit import FrameShape


@register("encoder", "my_component")
class MyComponent(nn.Module):
    """Three convolutions, with the K frames as channels, then one linear layer to s_x.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        dim: Width D of s_x.
    """

    def __init__(self, frames: FrameShape, *, dim: PositiveInt = 64) -> None:
        super().__init__()
        channels = frames.frames * frames.channels
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, 32, kernel_size=3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 32, kernel_size=3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 32, kernel_size=3, stride=2, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.LazyLinear(dim), nn.LayerNorm(dim)),  # no BatchNorm: acting and learning must see the same function
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        images = 1 - pixels.flatten(0, -5).flatten(1, 2).float() / 255  # [B, K·C, H, W], a white background at zero
        return self.layers(images).unflatten(0, pixels.shape[:-4])
