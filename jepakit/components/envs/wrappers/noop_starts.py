"""No-op starts: a random number of steps without an action begins each episode."""

from __future__ import annotations

from typing import Any

import gymnasium

from jepakit.components.envs.tape import Simulator


class NoopStarts(gymnasium.Wrapper[Any, Any, Any, Any]):
    """After a reset takes action 0 from 1 to ``most`` times, so that a game without chance does not always begin alike.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, Methods ("up to 30").

    Args:
        simulator: What is stepped; its action 0 does nothing.
        most: How often at most, at least 1.
    """

    def __init__(self, simulator: Simulator, most: int) -> None:
        super().__init__(simulator)
        self.most = most

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the simulator, and once more where the game ends before it begins."""
        observation, info = super().reset(seed=seed, options=options)
        for _ in range(self.np_random.integers(1, self.most, endpoint=True)):
            observation, _, terminated, truncated, _ = self.env.step(0)
            if terminated or truncated:
                observation, info = super().reset(options=options)
        return observation, info
