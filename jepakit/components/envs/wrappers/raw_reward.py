"""The task's rewards, told beside those of Gymnasium's wrappers that change rewards for learning alone."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.wrappers import ClipReward, NormalizeReward

from jepakit.components.envs.tape import STEP, Simulator, whole

FOR_LEARNING = (ClipReward, NormalizeReward)  #: a subclass is one, too


class Summed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Sums the task's rewards of the steps since `RawReward` has begun one: a wrapper between them may repeat actions."""

    raw = 0.0

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator."""
        observation, reward, terminated, truncated, info = whole(super().step(action), STEP)
        self.raw += float(info.get("raw_reward", reward))
        return observation, reward, terminated, truncated, {key: value for key, value in info.items() if key != "raw_reward"}


class RawReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """``info["raw_reward"]`` is the task's reward: as a wrapper above ``below`` tells it, else as ``below`` has seen it.

    Args:
        simulator: The simulator, in whose wrappers ``below`` is.
        below: Beneath the innermost wrapper `FOR_LEARNING`.
    """

    def __init__(self, simulator: Simulator, below: Summed) -> None:
        super().__init__(simulator)
        self.below = below

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator."""
        self.below.raw = 0.0
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {"raw_reward": self.below.raw, **info}


def with_raw_reward(simulator: Simulator) -> Simulator:
    """``simulator``; if one of its wrappers changes rewards `FOR_LEARNING`, in a `RawReward`."""
    innermost, inner = None, simulator
    while isinstance(inner, gymnasium.Wrapper):
        innermost, inner = inner if isinstance(inner, FOR_LEARNING) else innermost, inner.env
    if innermost is None:
        return simulator
    innermost.env = below = Summed(innermost.env)
    return RawReward(simulator, below)
