"""Gymnasium envs seen through their state vectors, for comparison with pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import JsonValue, PositiveInt
from torch import Tensor

from jepakit.components.envs.batched import BatchedEnv
from jepakit.components.envs.simulators import make_simulator
from jepakit.errors import UserError
from jepakit.protocols import FrameShape
from jepakit.registry import register


@register("env", "gym_state")
class GymStateEnv(BatchedEnv):
    """Any Gymnasium id, seen through its state vector: `gym` without pixels.

    Observations are those of `gym`, except that a frame is the S numbers that the env itself returns: ``pixels`` is float32
    [N, K, 1, 1, S], and nothing is rendered. With the same seed and actions, the episodes are those of `gym`.

    Args:
        seed: Seed from which all simulators' seeds are drawn.
        id: An id of `gymnasium.make`; `module:id` imports the module first. The env's observations must be a Box.
        num_envs: N, number of simulators stepped side by side.
        frames: K, number of latest state vectors in one observation.
        max_episode_steps: Maximum length of an episode, which is then truncated; null keeps Gymnasium's own limit.
        make_kwargs: Further arguments of `gymnasium.make`, such as the env's own options.

    Raises:
        UserError: The env cannot be created, or its kind of observations or actions is not supported.
    """

    def __init__(
        self,
        seed: int,
        *,
        id: str,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 1,
        max_episode_steps: PositiveInt | None = None,
        make_kwargs: dict[str, JsonValue] | None = None,
    ) -> None:
        make = partial(make_simulator, id, max_episode_steps, make_kwargs or {}, drawing=False)
        with make() as simulator:
            space = simulator.observation_space
        if not isinstance(space, spaces.Box):
            raise UserError(f"id {id}: its observations are {space}; a state vector is made of Box observations only")
        super().__init__(seed, id, make, num_envs, FrameShape(frames, 1, 1, int(np.prod(space.shape))), torch.float32)

    def _frame(self, n: int, observation: Any) -> Tensor:
        return torch.from_numpy(np.array(observation, dtype=np.float32)).view(self.frame_shape[1:])
