"""Action repeat: one step of the agent is several of the simulator."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from jepakit.components.envs.tape import Simulator


class ActionRepeat(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Repeats each action and sums the rewards, and ``info["raw_reward"]`` if there is one; stops early where the episode ends.

    Nothing is drawn between the repeats, but for the last but one where ``max_of_two``.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, Methods. Their maximum over two frames is
    there because games draw some objects in every other frame only.

    Args:
        simulator: What is stepped.
        repeat: How often, at least 1.
        max_of_two: ``render()`` after a step is the elementwise maximum of the last two frames, rather than the last one.
    """

    def __init__(self, simulator: Simulator, repeat: int, *, max_of_two: bool = False) -> None:
        super().__init__(simulator)
        self.repeat, self.max_of_two = repeat, max_of_two
        self.last_but_one: Any = None  #: the frame before the newest, where `render` needs it

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the simulator; ``render()`` is then its first frame."""
        self.last_but_one = None
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator ``repeat`` times; observation and info are of the last."""
        self.last_but_one, total, raw = None, 0.0, 0.0
        for left in reversed(range(self.repeat)):
            observation, reward, terminated, truncated, info = super().step(action)
            total += float(reward)
            raw += float(info.get("raw_reward", reward))
            if terminated or truncated:
                break
            if self.max_of_two and left == 1:
                self.last_but_one = super().render()
        return observation, total, terminated, truncated, info | {"raw_reward": raw} if "raw_reward" in info else info

    def render(self) -> Any:
        """What the last frame, or the brighter of the last two, shows."""
        image: Any = super().render()
        return image if self.last_but_one is None else np.maximum(image, self.last_but_one)
