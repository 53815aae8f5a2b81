"""Gymnasium envs seen through their rendered frames, N of them as one batched TorchRL env."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, PositiveInt

from jepakit.components.envs.pixels import PixelEnv
from jepakit.components.envs.simulators import draw, make_simulator
from jepakit.registry import register


@register("env", "gym")
class GymEnv(PixelEnv):
    """Any Gymnasium id, seen only through its rendered frames.

    Args:
        seed: Seed from which all simulators' seeds are drawn.
        id: An id of `gymnasium.make`; `module:id` imports the module first.
        num_envs: N, number of simulators stepped side by side.
        frames: K, number of latest frames in one observation.
        size: Height and width of a frame; null keeps the rendered size.
        grayscale: One luma channel instead of RGB.
        max_episode_steps: Maximum length of an episode, which is then truncated; null keeps Gymnasium's own limit.
        make_kwargs: Further arguments of `gymnasium.make`, such as the env's own options.

    Raises:
        UserError: The env cannot be created, its kind of actions is not supported, or its ``pixels`` fail `prove_pixels`.
    """

    def __init__(
        self,
        seed: int,
        *,
        id: str,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] | None = (80, 120),
        grayscale: bool = True,
        max_episode_steps: PositiveInt | None = None,
        make_kwargs: dict[str, JsonValue] | None = None,
    ) -> None:
        make = partial(make_simulator, id, max_episode_steps, make_kwargs or {})
        super().__init__(seed, id, make, num_envs, frames=frames, size=size, grayscale=grayscale)

    def _image(self, n: int) -> NDArray[np.uint8]:
        return draw(self.simulators[n])
