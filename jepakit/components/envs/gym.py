"""Gymnasium envs seen through their rendered frames, N of them as one batched TorchRL env."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue, PositiveInt
from torch import Tensor

from jepakit.components.envs.batched import BatchedEnv
from jepakit.components.envs.frames import to_frame
from jepakit.components.envs.proof import prove_pixels
from jepakit.components.envs.simulators import draw, make_simulator
from jepakit.components.envs.tape import Simulator
from jepakit.protocols import FrameShape
from jepakit.registry import register


@register("env", "gym")
class GymEnv(BatchedEnv):
    """Any Gymnasium id, seen only through its rendered frames.

    Args:
        seed: Starts the one stream that all simulators' seeds come from.
        id: The id that `gymnasium.make` knows; `module:id` imports the module first.
        num_envs: How many simulators are stepped side by side.
        frames: How many of the last frames make one observation (K).
        size: Height and width of a frame; null keeps the rendered size.
        grayscale: One luma channel rather than RGB.
        max_episode_steps: Truncates an episode after so many steps; null keeps Gymnasium's own limit.
        make_kwargs: Further arguments of `gymnasium.make`, such as the env's own options.

    Raises:
        UserError: The env cannot be made, its actions are of a kind not supported, or its ``pixels`` fail `prove_pixels`.
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
        height, width = size or _drawn_size(make())
        super().__init__(seed, id, make, num_envs, FrameShape(frames, 1 if grayscale else 3, height, width), torch.uint8)
        self.size, self.grayscale = size, grayscale

        # Proved here rather than on request, so that no caller can forget it. Seeding anew makes the proof leave no trace in the episodes.
        prove_pixels(self)
        self.set_seed(seed)

    def render(self) -> list[NDArray[np.uint8]]:
        """What each simulator draws now, uint8 [H, W, 3] at its own size."""
        return [draw(simulator) for simulator in self.simulators]

    def _frame(self, n: int, observation: Any) -> Tensor:
        return to_frame(draw(self.simulators[n]), self.size, self.grayscale)


def _drawn_size(simulator: Simulator) -> tuple[int, int]:
    height, width = draw(simulator).shape[:2]
    simulator.close()
    return height, width
