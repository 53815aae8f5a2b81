"""Noise in front of, or behind, what the env draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from jepakit.components.distractions.drawing import Changes, Strength, Where, blended, generator
from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("distraction", "noise")
class Noise:
    """Every pixel and channel of the background is an independent uniform number from 0 to 255.

    Source: Sobal et al. 2022, Joint Embedding Predictive Architectures Focus on Slow Features (arXiv:2211.10831), which compares noise that
    changes at every step with noise that is fixed. Their noise is added to the frame; here it replaces or blends with it.

    Args:
        changes: When new noise is drawn: at every ``step``, which nothing can predict; with each ``episode``, where it then stands still;
            or ``never``: the same noise in all episodes, held-out ones included.
        where: ``background``: the pixels that show background, by default those of the frame's most common colour; or ``everywhere``.
        strength: Share of the noise in the pixels that it changes; the rest is the frame's.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(
        self, seed: int, frames: FrameShape, *, changes: Changes = "step", where: Where = "background", strength: Strength = 1.0
    ) -> None:
        refuse_vectors("noise", frames)
        self.seed, self.changes, self.where, self.strength = seed, changes, where, strength

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> the same shape."""
        drawn = generator(self.seed, self.changes, episode, step).integers(256, size=tuple(frame.shape), dtype=np.uint8)
        return blended(frame, torch.from_numpy(drawn), self.where, self.strength, background)
