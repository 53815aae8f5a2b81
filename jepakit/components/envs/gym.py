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
        height, width = size or _drawn_size(make())
        super().__init__(seed, id, make, num_envs, FrameShape(frames, 1 if grayscale else 3, height, width), torch.uint8)
        self.size, self.grayscale = size, grayscale

        # Checked here, so that no caller can forget it. Seeding again removes every trace of the check from the episodes.
        prove_pixels(self)
        self.set_seed(seed)

    def render(self) -> list[NDArray[np.uint8]]:
        """The current image of each simulator, uint8 [H, W, 3], at its own size."""
        return [draw(simulator) for simulator in self.simulators]

    def _frame(self, n: int, observation: Any) -> Tensor:
        return to_frame(draw(self.simulators[n]), self.size, self.grayscale)


def _drawn_size(simulator: Simulator) -> tuple[int, int]:
    height, width = draw(simulator).shape[:2]
    simulator.close()
    return height, width
