"""What distractions share: when they change, where they are drawn, and how strongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

Changes = Literal["step", "episode", "never"]
Where = Literal["background", "everywhere"]
Strength = Annotated[float, Field(gt=0, le=1)]


def generator(seed: int, changes: Changes, episode: int, step: int) -> np.random.Generator:
    """The generator of one frame: its draws differ at every step, in every episode, or never."""
    return np.random.default_rng({"never": [seed], "episode": [seed, episode], "step": [seed, episode, step]}[changes])


def blended(frame: Tensor, other: Tensor, where: Where, strength: float, background: Callable[[], Tensor]) -> Tensor:
    """(1 - strength) · frame + strength · other, rounded, where asked for; the frame itself elsewhere. All uint8 [C, H, W]."""
    mixed = other if strength == 1 else torch.lerp(frame.float(), other.float(), strength).round().to(torch.uint8)
    return mixed if where == "everywhere" else torch.where(background(), mixed, frame)
