"""IMPALA's residual network."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.encoders.pixels import Scaling, as_images, pixel_scaling, with_leading
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("encoder", "impala")
class Impala(nn.Module):
    """IMPALA's large network: three sections of a convolution, max-pooling and two residual blocks; the K frames enter as channels.

    The sections have 16, 32 and 32 channels, and each halves height and width (rounding up). Then come a ReLU, a linear layer of ``dim``
    units and a ReLU, so s_x is never negative. Frames may have any size.

    Source: Espeholt et al. 2018, IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures, Figure 3
    (right), without its LSTMs; ``width`` as in Cobbe et al. 2020, Leveraging Procedural Generation to Benchmark Reinforcement Learning.
    Initial weights are PyTorch's own.

    Args:
        dim: Width D of s_x; 256 in the paper.
        width: Factor on the channels of all three sections; 1 in the paper.
        scaling: How uint8 pixels x become floats. ``unit``: x/255; ``inverted``: 1 - x/255, so that a white background is zero;
            ``centered``: x/255 - 0.5; ``normalized``: each pixel standardised by its mean and variance over all frames so far.
        motion: Gain of the frame differences that take the place of all frames but the newest (`Motion`); null: the frames themselves.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        dim: PositiveInt = 256,
        width: PositiveInt = 1,
        scaling: Scaling = "unit",
        motion: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.scale = pixel_scaling(frames, scaling, motion)
        channels = (frames.frames * frames.channels, 16 * width, 32 * width, 32 * width)
        self.sections = nn.Sequential(*(_section(*pair) for pair in pairwise(channels)))
        rows, columns = -(-frames.height // 8), -(-frames.width // 8)
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(channels[-1] * rows * columns, dim), nn.ReLU())

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        images = as_images(self.scale(pixels))  # [B, K·C, H, W]
        return with_leading(self.head(self.sections(images)), pixels)


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), with 3x3 kernels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.second = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return x + self.second(F.relu(self.first(F.relu(x))))


def _section(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, kernel_size=3, padding=1),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        Residual(channels),
        Residual(channels),
    )
