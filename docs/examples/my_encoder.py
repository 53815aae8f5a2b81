"""A convolutional encoder of one's own, used by custom.yaml beside it."""

from itertools import pairwise
from typing import Literal

from pydantic import PositiveInt
from torch import nn

from jepakit import register


@register("encoder", "my_cnn")
class MyCNN(nn.Module):
    """Three convolutions over the K frames as channels.

    Args:
        width: Channels of the first layer; doubled at each further one.
        norm: What ends the encoder.
    """

    def __init__(self, frames, *, width: PositiveInt = 16, norm: Literal["layer", "none"] = "layer"):
        super().__init__()
        channels = (frames.frames * frames.channels, width, 2 * width, 4 * width)
        layers = [nn.Sequential(nn.Conv2d(i, o, 4, stride=3), nn.ReLU()) for i, o in pairwise(channels)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(64), nn.LayerNorm(64) if norm == "layer" else nn.Identity())

    def forward(self, pixels):  # uint8 [*, K, C, H, W] -> float [*, D]
        images = 1 - pixels.flatten(-4, -3).float() / 255
        return self.layers(images.flatten(0, -4)).unflatten(0, pixels.shape[:-4])
