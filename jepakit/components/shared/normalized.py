"""Pixels standardised by the mean and variance of all frames that a run has collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from jepakit.components.shared.ranks import summed

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

EPSILON = 8.0  #: ε, out of 255: smallest standard deviation to divide by, so that faint noise stays faint
CLIP = 5.0  #: largest normalised value


class NormalizedPixels(nn.Module):
    """(x - mean) / √(variance + ε²), clipped to ±5.

    Mean and variance are those of each pixel and channel over all frames that the run has collected so far. A pixel that never changes
    becomes zero, whatever its colour. The statistics are integer sums: they are exact, and every copy of the encoder holds the same ones.

    Source: the code of Schulman et al. 2017 normalises observations in this way (running mean and variance, clipped); here for each pixel.

    Args:
        frames: The shape of a stack.
    """

    count: Tensor
    sum: Tensor
    square_sum: Tensor

    def __init__(self, frames: FrameShape) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        for name in ("sum", "square_sum"):
            self.register_buffer(name, torch.zeros(frames[1:], dtype=torch.int64))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float32, the same shape."""
        mean, deviation = self.statistics()
        return pixels.to(torch.float32, copy=True).sub_(mean).div_(deviation).clamp_(-CLIP, CLIP)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and √(variance + ε²) of each pixel, float32 [C, H, W] of 255; the middle of the range before the first frame."""
        count = self.count.clamp(min=1)
        mean = self.sum.double() / count
        variance = self.square_sum.double() / count - mean.square()
        deviation = (variance + EPSILON**2).sqrt()
        seen = self.count > 0  # selected from on the device: `if` would make Python wait for a GPU
        return torch.where(seen, mean.float(), 127.5), torch.where(seen, deviation.float(), 127.5)

    def fixed(self) -> FixedPixels:
        """The same with the present statistics as constants."""
        return FixedPixels(*self.statistics())

    @torch.no_grad()
    def observe(self, frames: Tensor) -> None:
        """Add uint8 ``frames`` [M, C, H, W], and those of all other ranks, to the statistics."""
        count, total, squares = (torch.zeros_like(each) for each in (self.count, self.sum, self.square_sum))
        for chunk in frames.split(256):
            levels = chunk.to(self.sum.device, torch.int32)
            count += len(levels)
            total += levels.sum(dim=0)
            squares += levels.square().sum(dim=0)
        for statistic, more in ((self.count, count), (self.sum, total), (self.square_sum, squares)):
            statistic += summed(more)


class FixedPixels(nn.Module):
    """`NormalizedPixels` whose ``mean`` and ``deviation`` [C, H, W] are constants."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float32, the same shape."""
        return ((pixels.float() - self.mean) / self.deviation).clamp(-CLIP, CLIP)
