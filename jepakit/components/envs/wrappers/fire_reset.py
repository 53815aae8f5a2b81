"""Fire on reset: some games stand still until the fire button is pressed."""

from __future__ import annotations

from typing import Any

import gymnasium

from jepakit.components.envs.tape import Simulator


class FireReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes one action after each reset, those within a game included.

    Source: a convention of implementations, not of a paper: a greedy policy that never fires would stand still for 108,000 frames.

    Args:
        simulator: What is stepped.
        fire: The action.
    """

    def __init__(self, simulator: Simulator, fire: int) -> None:
        super().__init__(simulator)
        self.fire = fire

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the simulator and fires. Should that end the game, the next step says so once more."""
        _, info = super().reset(seed=seed, options=options)
        observation, *_ = self.env.step(self.fire)
        return observation, info
