"""DrQ-v2's convolutional network and its trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from jepakit.components.encoders.convolutions import flat_width
from jepakit.components.encoders.pixels import Scaling, as_images, pixel_scaling, with_leading
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

CHANNELS = 32


@register("encoder", "drq_cnn")
class DrQCNN(nn.Module):
    """DrQ-v2's four convolutions, then its trunk: linear, LayerNorm, tanh; the K frames enter as channels.

    Each convolution has 32 filters of 3x3 and a ReLU; the first has stride 2. In DrQ-v2 the actor and the critic each have a trunk. Here
    they share one, which belongs to the encoder, so that s_x is small enough to predict.

    Source: Yarats et al. 2021, Mastering Visual Continuous Control: Improved Data-Augmented Reinforcement Learning, section 3.1 (Image
    Encoder) and the hyper-parameters; orthogonal initial weights (gain √2 before a ReLU, else 1; zero biases) and x/255 - 0.5 as in the
    authors' code.

    Args:
        dim: Width D of s_x; 50 in the paper.
        tanh: Whether s_x is squashed into [-1, 1], as in the paper.
        scaling: How uint8 pixels x become floats. ``centered``: x/255 - 0.5, as in the authors' code; ``unit``: x/255; ``inverted``:
            1 - x/255, so that a white background is zero; ``normalized``: each pixel standardised by its mean and variance over all frames
            so far.
        motion: Gain of the frame differences that take the place of all frames but the newest (`Motion`); null: the frames themselves.

    Raises:
        ValueError: The frames have fewer than 15x15 pixels.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        dim: PositiveInt = 50,
        tanh: bool = True,
        scaling: Scaling = "centered",
        motion: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.scale = pixel_scaling(frames, scaling, motion)
        self.convolutions = nn.Sequential(
            nn.Conv2d(frames.frames * frames.channels, CHANNELS, kernel_size=3, stride=2),
            nn.ReLU(),
            *(layer for _ in range(3) for layer in (nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3), nn.ReLU())),
        )
        self.trunk = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat_width(self.convolutions, frames), dim),
            nn.LayerNorm(dim),
            nn.Tanh() if tanh else nn.Identity(),
        )
        self.apply(_init_orthogonal)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_x [*, D]."""
        images = as_images(self.scale(pixels))  # [B, K·C, H, W]
        return with_leading(self.trunk(self.convolutions(images)), pixels)


def _init_orthogonal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.orthogonal_(module.weight, gain=2**0.5 if isinstance(module, nn.Conv2d) else 1.0)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
