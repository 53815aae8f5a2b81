"""Random network distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from jepakit.components.shared.images import refuse_vectors
from jepakit.components.shared.normalized import NormalizedPixels
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

KERNELS = ((8, 4, 32), (4, 2, 64), (3, 1, 64))  #: kernel, stride and filters of the three convolutions
LEAST = 36  #: pixels of a side, below which nothing is left behind the convolutions


@register("curiosity", "rnd")
class RND(nn.Module):
    """surprise[t] = ‖f̂(f[t+1]) − f(f[t+1])‖² / k: a trained network f̂ predicts the k outputs of a fixed random one, f.

    Both see the newest frame after the step, each pixel standardised by all frames so far and clipped to ±5. Frames like those that f̂ was
    trained on are no surprise, and neither is a random future: f is a function of the frame. The division by k is a constant factor, which
    the scale of the bonus takes away. f̂ learns from the minibatches of the run's updates.

    Unlike the paper, one critic and one discount serve the sum of both rewards, so that the intrinsic return ends with the episode; the
    frames' statistics begin with the first collected batch instead of a random agent's 50 rollouts, and their deviation is at least 8 of
    255; colours stay if the env has them.

    Source: Burda et al. 2019, Exploration by Random Network Distillation, sections 2.2 to 2.4 and Algorithm 1; networks as in the authors'
    code (three convolutions, leaky ReLU, k outputs; f̂ has two more layers; orthogonal weights).

    Args:
        width: k; 512 in the paper.
        share: Share of a minibatch's rows that f̂ learns from; 1 in the paper for 32 envs, 0.25 for 128.

    Raises:
        ValueError: The frames are state vectors, or smaller than 36x36 pixels.
    """

    def __init__(self, frames: FrameShape, *, width: PositiveInt = 512, share: Annotated[float, Field(gt=0, le=1)] = 1.0) -> None:
        super().__init__()
        refuse_vectors("rnd", frames)
        if min(frames.height, frames.width) < LEAST:
            raise ValueError(f"frames of {frames.height}x{frames.width} pixels are too small for rnd: at least {LEAST}x{LEAST}")
        self.share = share
        self.scale = NormalizedPixels(frames)
        self.fixed = nn.Sequential(*_convolutions(frames), nn.LazyLinear(width))
        self.predictor = nn.Sequential(
            *_convolutions(frames), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        for net in (self.fixed, self.predictor):
            net(torch.zeros(1, *frames[1:]))  # the linear layers measure their input
            for name, parameter in net.named_parameters():
                if name.endswith("weight"):
                    nn.init.orthogonal_(parameter, gain=2**0.5)
                else:
                    nn.init.zeros_(parameter)
        self.fixed.requires_grad_(False)

    def surprise(self, pixels_next: Tensor) -> Tensor:
        """uint8 ``pixels_next`` [M, K, C, H, W] -> [M]."""
        frames = self.scale(pixels_next[:, -1])
        return (self.predictor(frames) - self.fixed(frames)).square().mean(dim=-1)

    def loss(self, pixels_next: Tensor) -> Tensor:
        """The mean surprise of a random ``share`` of ``pixels_next`` [M, K, C, H, W]."""
        if self.share < 1:
            count = max(1, round(self.share * len(pixels_next)))
            pixels_next = pixels_next[torch.randperm(len(pixels_next), device=pixels_next.device)[:count]]
        return self.surprise(pixels_next).mean()


def _convolutions(frames: FrameShape) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = frames.channels
    for kernel, stride, filters in KERNELS:
        layers += [nn.Conv2d(channels, filters, kernel, stride), nn.LeakyReLU()]
        channels = filters
    return [*layers, nn.Flatten()]
