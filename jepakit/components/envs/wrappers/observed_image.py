"""Observations that are images already, as what is drawn."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from jepakit.components.envs.tape import Simulator


class ObservedImage(gymnasium.Wrapper[Any, Any, Any, Any]):
    """``render()`` is the last observation.

    Raises:
        ValueError: The simulator's observations are no uint8 images [H, W], [H, W, 1] or [H, W, 3].
    """

    render_mode = "rgb_array"

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        space = simulator.observation_space
        shape = space.shape or ()
        if space.dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
            raise ValueError(f"its observations are {space}, no uint8 images [H, W], [H, W, 1] or [H, W, 3]")
        self.seen: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the simulator."""
        self.seen, info = super().reset(seed=seed, options=options)
        return self.seen, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator."""
        self.seen, *rest = super().step(action)
        return self.seen, *rest

    def render(self) -> Any:
        """The last observation."""
        return self.seen
