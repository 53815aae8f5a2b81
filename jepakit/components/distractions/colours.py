"""Changed colours: another brightness and contrast in each channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jepakit.components.distractions.drawing import Changes, Strength, generator
from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("distraction", "colours")
class Colours:
    """Each channel x becomes (1 + a) · (x - 127.5) + 127.5 + 255 · b, rounded and clamped, with a and b uniform in [-strength, strength].

    Source: a choice. The Distracting Control Suite (Stone et al. 2021, arXiv:2101.02722) changes the colours of single objects instead, by
    at most 0.1, 0.2 or 0.3 of their range, which needs the simulator; this one takes any frames.

    Args:
        changes: When new colours are drawn: at every ``step``, with each ``episode``, or ``never``: the same change in all episodes.
        strength: Largest change, as a share of contrast and of the range of brightness.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(self, seed: int, frames: FrameShape, *, changes: Changes = "episode", strength: Strength = 0.3) -> None:
        refuse_vectors("colours", frames)
        self.seed, self.changes, self.strength = seed, changes, strength

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> the same shape."""
        draws = generator(self.seed, self.changes, episode, step).uniform(-self.strength, self.strength, (2, len(frame), 1, 1))
        contrast, brightness = torch.from_numpy(draws).float()
        changed = (1 + contrast) * (frame.float() - 127.5) + 127.5 + 255 * brightness
        return changed.round().clamp(0, 255).to(torch.uint8)
