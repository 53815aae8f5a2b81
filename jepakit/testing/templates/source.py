"""A source of your own: recorded data in place of an env."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jepakit import Recording, register
from torch import Tensor

if TYPE_CHECKING:
    from jepakit import FrameShape
    from torchrl.data import TensorSpec


@register("source", "my_component")
class MyComponent:
    """Frames of noise, in episodes of one length. Replace it with your data.

    Args:
        episodes: How many there are.
        length: Steps of each.
    """

    lacks = ("reward",)  # what is zero because the data does not have it: "action", "reward"

    def __init__(self, frames: FrameShape, action_spec: TensorSpec, *, episodes: int = 4, length: int = 10) -> None:
        self.frames, self.action_spec = frames, action_spec
        self.episodes, self.length = episodes, length

    def load(self) -> Recording:
        """Each episode has a frame more than it has steps: the last one."""
        random = torch.Generator().manual_seed(0)  # a generator of your own: runs must not depend on what you draw
        _, channels, height, width = self.frames
        count = self.episodes * (self.length + 1)
        age = torch.arange(self.length).repeat(self.episodes)
        first = torch.arange(self.episodes).repeat_interleave(self.length) * (self.length + 1)
        done = age == self.length - 1
        return Recording(
            frames=torch.randint(0, 256, (count, channels, height, width), generator=random, dtype=torch.uint8),
            position=first + age,
            age=age,
            action=self._actions(len(age)),
            reward=torch.zeros(len(age)),
            terminated=torch.zeros_like(done),
            done=done,
        )

    def _actions(self, count: int) -> Tensor:
        """int64 [S] of discrete actions, float32 [S, A] of continuous ones."""
        return torch.zeros(count, *self.action_spec.shape, dtype=self.action_spec.dtype)
