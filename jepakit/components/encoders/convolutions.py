"""Shared by the encoders made of plain convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


def flat_width(net: nn.Sequential, frames: FrameShape) -> int:
    """Size of the flattened output of ``net``'s unpadded convolutions for one stack.

    Raises:
        ValueError: The frames are too small for the convolutions.
    """
    convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
    height, width, least = frames.height, frames.width, 1
    for convolution in convolutions:
        kernel, stride = convolution.kernel_size[0], convolution.stride[0]
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    for convolution in reversed(convolutions):
        least = (least - 1) * convolution.stride[0] + convolution.kernel_size[0]
    if min(frames.height, frames.width) < least:
        raise ValueError(f"frames of {frames.height}x{frames.width} pixels are too small for these convolutions: at least {least}x{least}")
    return convolutions[-1].out_channels * height * width


def flattened(net: nn.Sequential, frames: FrameShape, dim: int | None) -> nn.Sequential:
    """What stands behind ``net``'s convolutions: flatten, then a linear layer of ``dim`` units and a ReLU unless ``dim`` is None.

    Raises:
        ValueError: The frames are too small for the convolutions.
    """
    width = flat_width(net, frames)
    return nn.Sequential(nn.Flatten(), *(() if dim is None else (nn.Linear(width, dim), nn.ReLU())))
