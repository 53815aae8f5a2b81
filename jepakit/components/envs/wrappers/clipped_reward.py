"""Reward clipping: learning sees a reward's sign alone."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class ClippedReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives the sign of each reward, -1, 0 or 1; the reward itself is ``info["raw_reward"]``.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, Methods.
    """

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, float(np.sign(float(reward))), terminated, truncated, info | {"raw_reward": reward}
