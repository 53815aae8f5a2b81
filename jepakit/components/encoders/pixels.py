"""Shared by encoders: pixels to floats, stacks to images, leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from jepakit.components.shared.normalized import NormalizedPixels

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

#: How uint8 pixels x become floats: 1 - x/255, x/255, x/255 - 0.5, or standardised by what the run has seen (`NormalizedPixels`).
Scaling = Literal["inverted", "unit", "centered", "normalized"]

#: The scalings that need no statistics.
FIXED_SCALINGS: tuple[Scaling, ...] = ("inverted", "unit", "centered")


def pixel_scaling(frames: FrameShape, scaling: Scaling) -> Callable[[Tensor], Tensor]:
    """What an encoder of stacks of shape ``frames`` turns uint8 pixels [*, K, C, H, W] into float32 of the same shape with.

    Raises:
        ValueError: The frames are state vectors, whose numbers are no brightness.
    """
    if frames.height == 1:
        raise ValueError(f"this kind needs images; frames of 1 x {frames.width} are state vectors, which `mlp` takes")
    return NormalizedPixels(frames) if scaling == "normalized" else partial(scale, scaling=scaling)


def scale(pixels: Tensor, scaling: Scaling) -> Tensor:
    """uint8 pixels -> floats, by a ``scaling`` that needs no statistics."""
    unit = pixels.to(torch.float32, copy=True).div_(255)  # in place from here on: these are a forward pass's largest tensors
    match scaling:
        case "inverted":
            return unit.neg_().add_(1)
        case "centered":
            return unit.sub_(0.5)
    return unit


def as_images(pixels: Tensor) -> Tensor:
    """``pixels`` [*, K, C, H, W] -> [B, K·C, H, W]: the K frames become channels, the leading dimensions one dimension."""
    frames, channels, height, width = pixels.shape[-4:]
    return pixels.reshape(-1, frames * channels, height, width)


def with_leading(s_x: Tensor, pixels: Tensor) -> Tensor:
    """``s_x`` [B, D] -> [*, D], with the leading dimensions of ``pixels`` [*, K, C, H, W]."""
    return s_x.reshape(*pixels.shape[:-4], s_x.shape[-1])
