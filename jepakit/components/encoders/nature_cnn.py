"""DQN's convolutional network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from jepakit.components.encoders.convolutions import flattened
from jepakit.components.encoders.pixels import Scaling, as_images, pixel_scaling, with_leading
from jepakit.components.shared.min_max import min_max
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("encoder", "nature_cnn")
class NatureCNN(nn.Module):
    """DQN's three convolutions and one linear layer, each followed by a ReLU; the K frames enter as channels.

    32 filters of 8x8 with stride 4, 64 of 4x4 with stride 2, 64 of 3x3 with stride 1, then ``dim`` units. s_x is never negative.

    Source: Mnih et al. 2015, Human-level Control through Deep Reinforcement Learning, Methods (Model architecture). Initial weights are
    PyTorch's own. ``dim: null`` with ``min_max``: Schwarzer et al. 2021, Data-Efficient RL with Self-Predictive Representations (SPR).

    Args:
        dim: Width D of s_x; 512 in the paper. Null: no linear layer; s_x is the flattened feature map, channel by channel: 64 x 7 x 7 =
            3136 numbers for frames of 84x84.
        min_max: Whether each s_x is rescaled to [0, 1] by its smallest and its largest entry, as in SPR.
        scaling: How uint8 pixels x become floats. ``unit``: x/255; ``inverted``: 1 - x/255, so that a white background is zero;
            ``centered``: x/255 - 0.5; ``normalized``: each pixel standardised by its mean and variance over all frames so far.
        motion: Gain of the frame differences that take the place of all frames but the newest (`Motion`); null: the frames themselves.

    Raises:
        ValueError: The frames have fewer than 36x36 pixels.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        dim: PositiveInt | None = 512,
        min_max: bool = False,
        scaling: Scaling = "unit",
        motion: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.scale = pixel_scaling(frames, scaling, motion)
        self.convolutions = nn.Sequential(
            nn.Conv2d(frames.frames * frames.channels, 32, kernel_size=8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, kernel_size=3, stride=1),
            nn.ReLU(),
        )
        self.head = flattened(self.convolutions, frames, dim)
        self.min_max = min_max

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        images = as_images(self.scale(pixels))  # [B, K·C, H, W]
        s_x = self.head(self.convolutions(images))
        return with_leading(min_max(s_x) if self.min_max else s_x, pixels)
