"""What encoders share about their input: pixels as floats, stacks as images, leading dimensions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

#: How uint8 pixels x become floats: 1 - x/255, x/255 or x/255 - 0.5.
Scaling = Literal["inverted", "unit", "centered"]


def scale(pixels: Tensor, scaling: Scaling) -> Tensor:
    """uint8 pixels -> floats; see `Scaling`."""
    unit = pixels.to(torch.float32, copy=True).div_(255)  # in place from here: these are the largest tensors of a forward pass
    match scaling:
        case "inverted":
            return unit.neg_().add_(1)
        case "centered":
            return unit.sub_(0.5)
    return unit


def as_images(pixels: Tensor) -> Tensor:
    """uint8 ``pixels`` [*, K, C, H, W] -> [B, K·C, H, W]: the K frames side by side as channels, the leading dimensions as one."""
    frames, channels, height, width = pixels.shape[-4:]
    return pixels.reshape(-1, frames * channels, height, width)


def with_leading(s_x: Tensor, pixels: Tensor) -> Tensor:
    """``s_x`` [B, D] -> [*, D], with the leading dimensions of ``pixels`` [*, K, C, H, W]."""
    return s_x.reshape(*pixels.shape[:-4], s_x.shape[-1])
