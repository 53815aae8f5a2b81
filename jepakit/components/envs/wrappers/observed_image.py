"""Observations that are images already, as what is drawn."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from jepakit.components.envs.tape import RESET, STEP, Simulator, whole


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
        self.shape = shape
        self.seen: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the simulator."""
        observation, info = whole(super().reset(seed=seed, options=options), RESET)
        self.seen = self._image(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator."""
        observation, *rest = whole(super().step(action), STEP)
        self.seen = self._image(observation)
        return observation, *rest

    def render(self) -> Any:
        """The last observation."""
        return self.seen

    def _image(self, observation: Any) -> NDArray[np.uint8]:
        """A copy of ``observation``: simulators may share the memory that they write it to."""
        image = np.array(observation)
        if image.dtype != np.uint8 or image.shape != self.shape:
            raise ValueError(f"its observation is {described(observation)}, where its space promises uint8 {list(self.shape)}")
        return image


def described(image: object) -> str:
    """An image for messages, such as ``uint8 [40, 60, 3]``; of what is no array its type."""
    return f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
