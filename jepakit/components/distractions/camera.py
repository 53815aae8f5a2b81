"""A shifted camera: the whole frame, some pixels aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor

from jepakit.components.distractions.drawing import Changes, generator
from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("distraction", "camera")
class Camera:
    """Shifts the frame by integers dy, dx, drawn uniformly from [-shift, shift]; what comes into view repeats the border.

    Source: a choice. The Distracting Control Suite (Stone et al. 2021, arXiv:2101.02722) moves the simulator's camera instead.

    Args:
        shift: Largest shift in pixels, in each direction.
        changes: When a new shift is drawn: at every ``step``, a shaking camera; with each ``episode``; or ``never``: one shift for all
            episodes.

    Raises:
        ValueError: The frames are state vectors.
    """

    moves = True

    def __init__(self, seed: int, frames: FrameShape, *, shift: PositiveInt = 4, changes: Changes = "episode") -> None:
        refuse_vectors("camera", frames)
        self.seed, self.shift, self.changes = seed, shift, changes

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> the same shape."""
        dy, dx = generator(self.seed, self.changes, episode, step).integers(-self.shift, self.shift, 2, endpoint=True).tolist()
        rows = (torch.arange(frame.shape[1]) + dy).clamp(0, frame.shape[1] - 1)
        columns = (torch.arange(frame.shape[2]) + dx).clamp(0, frame.shape[2] - 1)
        return frame[:, rows[:, None], columns]
