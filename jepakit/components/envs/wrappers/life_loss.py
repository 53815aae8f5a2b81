"""Life loss: a lost life ends the episode for learning, not for counting."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium

from jepakit.components.envs.tape import Simulator


class HasLives(Protocol):
    """What the simulator itself, ``unwrapped``, has to offer."""

    def lives(self) -> int:
        """How many are left; 0 in games without."""
        ...


class LifeLoss(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Where a step loses a life and the game goes on, says ``terminated``, and ``info["episode_over"]`` False; so does the reset after it.

    That reset leaves the game where it is. Any other reset begins a new one.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, Methods.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.goes_on: tuple[Any] | None = None  #: the observation that the last step gave, if it lost a life

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins a new game, unless a life was just lost and no seed is given."""
        goes_on, self.goes_on = self.goes_on, None
        if goes_on and seed is None:
            return goes_on[0], {"episode_over": False}
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator."""
        game: HasLives = self.unwrapped  # type: ignore[assignment]
        before = game.lives()
        observation, reward, terminated, truncated, info = super().step(action)
        lost = 0 < game.lives() < before and not (terminated or truncated)  # 0: the game is about to end
        self.goes_on = (observation,) if lost else None
        if lost:
            return observation, reward, True, False, info | {"episode_over": False}
        return observation, reward, terminated, truncated, info
