"""An env that stops drawing. It lies here because the processes that draw import its module, and need no torch for it."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Dark(gymnasium.Env[Any, Any]):
    """Draws nothing after its third step."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}
    action_space, observation_space = spaces.Discrete(2), spaces.Discrete(2)

    def __init__(self, render_mode: str) -> None:
        self.render_mode, self.steps = render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin anew."""
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Go on."""
        self.steps += 1
        return 0, 1.0, False, False, {}

    def render(self) -> Any:
        """A picture, as long as there is one."""
        return np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3) if self.steps < 3 else None
