"""Figures of an env's frames: what an encoder has to go by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class FrameFigures(NamedTuple):
    """What a sample of frames holds."""

    background: int  #: the most common level, of 255
    changing: float  #: share of the pixels that change at least once
    variance: float  #: mean over pixels of the variance over frames, of x/255


@torch.no_grad()
def frame_figures(frames: Tensor) -> FrameFigures:
    """The figures of uint8 ``frames`` [M, C, H, W], two or more."""
    return FrameFigures(
        background=int(frames.flatten().mode().values),
        changing=float((frames != frames[:1]).any(dim=0).float().mean()),
        variance=float((frames.float() / 255).var(dim=0).mean()),
    )


@torch.no_grad()
def changing_share(inputs: Tensor) -> float:
    """Variance over mean square of an encoder's ``inputs`` [M, ...]: the share of its input that changes; 0 if all of it is zero.

    The rest is the same in every frame. An encoder that sees little else maps all frames to one embedding.
    """
    mean_square = inputs.square().mean()
    return float(inputs.var(dim=0).mean() / mean_square) if mean_square > 0 else 0.0
