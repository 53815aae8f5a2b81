"""A distraction of your own: a change of an env's frames that the task does not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from jepakit import register
from pydantic import PositiveInt
from torch import Tensor

if TYPE_CHECKING:
    from jepakit import FrameShape


@register("distraction", "my_component")
class MyComponent:
    """A bar of random brightness moves over the background from left to right.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        width: Of the bar, in pixels.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(self, seed: int, frames: FrameShape, *, width: PositiveInt = 8) -> None:
        if frames.height == 1:
            raise ValueError("kind needs images; these frames are state vectors")
        self.seed = seed
        self.width = width

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> a new tensor of the same shape. ``background()`` is bool [H, W]."""
        # A function of its arguments alone: a resumed run then shows the same frames.
        brightness = int(np.random.default_rng([self.seed, episode]).integers(256))
        columns = torch.arange(frame.shape[2])
        bar = (columns - step) % frame.shape[2] < self.width
        return torch.where(background() & bar, torch.tensor(brightness, dtype=torch.uint8), frame)
