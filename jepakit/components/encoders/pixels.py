"""Shared by encoders: pixels to floats, frame differences, stacks to images, leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from jepakit.components.shared.normalized import NormalizedPixels

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

#: How uint8 pixels x become floats: 1 - x/255, x/255, x/255 - 0.5, or standardised by what the run has seen (`NormalizedPixels`).
Scaling = Literal["inverted", "unit", "centered", "normalized"]

#: The scalings that need no statistics.
FIXED_SCALINGS: tuple[Scaling, ...] = ("inverted", "unit", "centered")


def pixel_scaling(frames: FrameShape, scaling: Scaling, motion: float | None = None) -> Callable[[Tensor], Tensor]:
    """What an encoder of stacks of shape ``frames`` turns uint8 pixels [*, K, C, H, W] into float32 of the same shape with.

    With ``motion`` all frames but the newest become `Motion`.

    Raises:
        ValueError: The frames are state vectors, whose numbers are no brightness; or there is one frame, which shows no motion.
    """
    if frames.height == 1:
        raise ValueError(f"this kind needs images; frames of 1 x {frames.width} are state vectors, which `mlp` takes")
    if motion is not None and frames.frames == 1:
        raise ValueError("motion needs two frames or more; a stack has 1")
    scaled = NormalizedPixels(frames) if scaling == "normalized" else partial(scale, scaling=scaling)
    return scaled if motion is None else Motion(scaled, motion)


def scale(pixels: Tensor, scaling: Scaling) -> Tensor:
    """uint8 pixels -> floats, by a ``scaling`` that needs no statistics."""
    unit = pixels.to(torch.float32, copy=True).div_(255)  # in place from here on: these are a forward pass's largest tensors
    match scaling:
        case "inverted":
            return unit.neg_().add_(1)
        case "centered":
            return unit.sub_(0.5)
    return unit


class Motion(nn.Module):
    """Frame differences in the place of older frames: (f[1], …, f[K]) -> (g (f[2] - f[1]), …, g (f[K] - f[K-1]), f[K]).

    Nothing is lost: the older frames are sums of these. But what moves is a small part of a frame, and so a small part of what a linear
    layer sees; its differences times a gain are a large part.

    Args:
        scale: uint8 pixels [*, K, C, H, W] -> float32 of the same shape, newly made at each call.
        gain: g.
    """

    def __init__(self, scale: Callable[[Tensor], Tensor], gain: float) -> None:
        super().__init__()
        self.scale = scale
        self.gain = gain

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float32 of the same shape."""
        frames = self.scale(pixels)
        for k in range(frames.shape[-4] - 1):  # in place, oldest first: these are a forward pass's largest tensors
            frames.select(-4, k).sub_(frames.select(-4, k + 1)).mul_(-self.gain)
        return frames


def as_images(pixels: Tensor) -> Tensor:
    """``pixels`` [*, K, C, H, W] -> [B, K·C, H, W]: the K frames become channels, the leading dimensions one dimension."""
    frames, channels, height, width = pixels.shape[-4:]
    return pixels.reshape(-1, frames * channels, height, width)


def with_leading(s_x: Tensor, pixels: Tensor) -> Tensor:
    """``s_x`` [B, D] -> [*, D], with the leading dimensions of ``pixels`` [*, K, C, H, W]."""
    return s_x.reshape(*pixels.shape[:-4], s_x.shape[-1])
