"""The peers' view of a task: what Gymnasium draws, made the frames that jepakit's agent sees.

Nothing is jepakit's but, where asked for, the canvas: peers stay what they are when jepakit changes. ``tests/benchmarks/test_frames.py``
shows that the frames are equal.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import Any

# SDL reads this when pygame first draws: no window opens.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gymnasium
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from numpy.typing import NDArray

TASK = "CartPole-v1"


def make(drawing: str) -> gymnasium.Env[Any, Any]:
    """One simulator that draws."""
    if drawing == "gymnasium":
        return gymnasium.make(TASK, render_mode="rgb_array", disable_env_checker=True)
    from jepakit.components.envs.simulators import make_simulator

    return make_simulator(TASK, None, {})


class Frames(gymnasium.Wrapper[NDArray[np.uint8], Any, Any, Any]):
    """An env seen through its last K drawn frames: uint8 [K, height, width], grey.

    Args:
        height: Of a frame.
        width: Of a frame.
        drawing: ``jepakit``, on jepakit's packed canvas; ``gymnasium``, as Gymnasium does it.
        frames: K. A new episode's stack repeats its first frame.
    """

    def __init__(self, height: int, width: int, drawing: str, frames: int = 3) -> None:
        super().__init__(make(drawing))
        self.size = height, width
        self.stack = np.zeros((frames, height, width), np.uint8)
        self.observation_space = spaces.Box(0, 255, self.stack.shape, np.uint8)
        self.seconds = 0.0  #: wall-clock in steps and resets

    def reset(self, **how: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start an episode."""
        started = perf_counter()
        _, info = self.env.reset(**how)
        self.stack[:] = self._frame()
        self.seconds += perf_counter() - started
        return self.stack.copy(), info

    def step(self, action: Any) -> tuple[NDArray[np.uint8], Any, bool, bool, dict[str, Any]]:
        """Take one step and draw it."""
        started = perf_counter()
        _, reward, terminated, truncated, info = self.env.step(action)
        self.stack = np.concatenate([self.stack[1:], self._frame()])
        self.seconds += perf_counter() - started
        return self.stack.copy(), reward, terminated, truncated, info

    def _frame(self) -> NDArray[np.uint8]:
        """Resized with antialiasing, then grey by Rec. 601 luma: uint8 [1, height, width]."""
        image: Any = self.env.render()
        small = F.interpolate(torch.from_numpy(image).permute(2, 0, 1)[None], self.size, mode="bilinear", antialias=True)[0]
        red, green, blue = small.float()
        return (0.299 * red + 0.587 * green + 0.114 * blue).round().to(torch.uint8)[None].numpy()
