"""Data-efficient Rainbow's convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from jepakit.components.encoders.convolutions import flattened
from jepakit.components.encoders.pixels import Scaling, as_images, pixel_scaling, with_leading
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("encoder", "der_cnn")
class DERCNN(nn.Module):
    """Two convolutions, each followed by a ReLU: 32 filters of 5x5 with stride 5, then 64 of 5x5 with stride 5; the K frames are channels.

    s_x is the flattened feature map, 64 x 3 x 3 = 576 numbers for frames of 84x84. It is never negative.

    Source: van Hasselt, Hessel and Aslanides 2019, When to use parametric models in reinforcement learning?, data-efficient Rainbow; used
    in Laskin et al. 2020, CURL. Initial weights are PyTorch's own.

    Args:
        dim: Width D of a linear layer with a ReLU behind the feature map; null: no such layer, as in the paper.
        scaling: How uint8 pixels x become floats. ``unit``: x/255; ``inverted``: 1 - x/255, so that a white background is zero;
            ``centered``: x/255 - 0.5; ``normalized``: each pixel standardised by its mean and variance over all frames so far.
        motion: Gain of the frame differences that take the place of all frames but the newest (`Motion`); null: the frames themselves.

    Raises:
        ValueError: The frames have fewer than 25x25 pixels.
    """

    def __init__(
        self, frames: FrameShape, *, dim: PositiveInt | None = None, scaling: Scaling = "unit", motion: PositiveFloat | None = None
    ) -> None:
        super().__init__()
        self.scale = pixel_scaling(frames, scaling, motion)
        self.convolutions = nn.Sequential(
            nn.Conv2d(frames.frames * frames.channels, 32, kernel_size=5, stride=5),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=5, stride=5),
            nn.ReLU(),
        )
        self.head = flattened(self.convolutions, frames, dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        images = as_images(self.scale(pixels))  # [B, K·C, H, W]
        return with_leading(self.head(self.convolutions(images)), pixels)
