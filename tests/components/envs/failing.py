"""Envs that fail. They lie here because the processes that step them import their module, and need no torch for it."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Fails(gymnasium.Env[Any, Any]):
    """Renders a gradient, and raises at its third step."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}
    action_space = spaces.Discrete(2)
    observation_space = spaces.Discrete(2)

    def __init__(self, render_mode: str) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 3:
            raise ZeroDivisionError("the pole is of no length")
        return 0, 1.0, False, False, {}

    def render(self) -> Any:
        return np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)


class Odd(Fails):
    """Returns NaN as its third reward."""

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return 0, float("nan") if self.steps == 3 else 1.0, False, False, {}


class Dark(Odd):
    """Draws nothing after its third step."""

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return 0, 1.0, False, False, {}

    def render(self) -> Any:
        return super().render() if self.steps < 3 else None
