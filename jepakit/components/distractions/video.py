"""A moving background: drifting waves of colour, generated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from jepakit.components.distractions.drawing import Strength, Where, blended, generator
from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

WAVES = 4  #: in each channel


@register("distraction", "video")
class Video:
    """The background is a film of smooth waves that drift, drawn anew for each episode. Within an episode it can be predicted.

    Each channel is 127.5 + 127.5 · Σ sin(2π (k · (x, y) ± t / T + φ)) / √(2 · waves), clamped to 0..255. Each wave has its own direction,
    sign and phase φ, and 1 to 3 crests across the frame.

    Source: a generated stand-in for the natural videos of Zhang et al. 2018, Natural Environment Benchmarks for Reinforcement Learning
    (arXiv:1811.06032), and of Stone et al. 2021, The Distracting Control Suite (arXiv:2101.02722).

    Args:
        period: T, env steps in which each wave moves by one wavelength.
        where: ``background``: the pixels that show background, by default those of the frame's most common colour; or ``everywhere``.
        strength: Share of the video in the pixels that it changes; the rest is the frame's.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(
        self, seed: int, frames: FrameShape, *, period: PositiveInt = 40, where: Where = "background", strength: Strength = 1.0
    ) -> None:
        refuse_vectors("video", frames)
        self.seed, self.period, self.where, self.strength = seed, period, where, strength

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> the same shape."""
        channels, height, width = frame.shape
        draws = generator(self.seed, "episode", episode, step)
        size = (channels, WAVES, 1, 1)
        direction, crests, phase = draws.uniform(0, 2 * math.pi, size), draws.uniform(1, 3, size), draws.uniform(0, 1, size)
        drift = draws.choice([-1, 1], size) * step / self.period
        y, x = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)
        waves = np.sin(2 * math.pi * (crests * (np.cos(direction) * x + np.sin(direction) * y) + phase + drift))
        film = 127.5 + 127.5 * waves.sum(axis=1) / math.sqrt(2 * WAVES)
        drawn = torch.from_numpy(np.clip(np.rint(film), 0, 255).astype(np.uint8))
        return blended(frame, drawn, self.where, self.strength, background)
