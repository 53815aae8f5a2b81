"""The DeepMind Control Suite seen through its rendered frames, N simulators as one batched TorchRL env."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from jepakit.components.envs.dmc.simulator import Draw, make_simulator
from jepakit.components.envs.opengl import choose_opengl
from jepakit.components.envs.pixels import PixelEnv
from jepakit.registry import register


@register("env", "dmc")
class DmcEnv(PixelEnv):
    """A task of the DeepMind Control Suite, seen only through its rendered frames.

    An episode is 1,000 simulator steps long, whatever happens in it: its end is a time limit (truncated), after which values go on. Frames
    are drawn at their own size, and only those that an observation holds.

    Source: Tassa et al. 2018, DeepMind Control Suite (arXiv:1801.00690).

    Args:
        seed: Starts the one stream that all simulators' seeds come from.
        processes: How many processes the simulators are spread over; 1: they are stepped in this one.
        domain: The suite's domain, such as ``cartpole``.
        task: The domain's task, such as ``swingup``.
        action_repeat: Simulator steps in one env step; rewards are summed. PlaNet's values: cartpole 8, reacher, cheetah and ball_in_cup 4,
            finger and walker 2.
        num_envs: How many simulators are stepped side by side.
        frames: How many of the last frames make one observation (K).
        size: Height and width of a frame.
        grayscale: One luma channel rather than RGB.
        camera: The model's camera, by number or name; -1 is the free one. 0 shows some agents from far away, such as ``quadruped``.
        draw: ``exact``: the published pixels. ``fast``: without shadows, reflections and multisampling, ten times as fast or more.
        max_episode_steps: Truncates an episode after so many simulator steps.

    Raises:
        UserError: There is no such task or camera, nothing here draws, or the task's actions are unbounded.
    """

    requires: ClassVar[dict[str, str]] = {"dm_control": "pip install 'jepakit[dmc]'"}

    def __init__(
        self,
        seed: int,
        processes: int = 1,
        *,
        domain: str,
        task: str,
        action_repeat: PositiveInt = 2,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] = (84, 84),
        grayscale: bool = False,
        camera: int | str = 0,
        draw: Draw = "exact",
        max_episode_steps: PositiveInt = 1000,
    ) -> None:
        self.drawing = choose_opengl() | {"draw": draw}
        make = partial(make_simulator, domain, task, action_repeat, size, camera, draw, max_episode_steps)
        id = f"{domain}/{task}"
        super().__init__(
            seed,
            id,
            make,
            num_envs,
            frames=frames,
            size=size,
            grayscale=grayscale,
            frames_per_step=action_repeat,
            processes=processes,
        )

    def _background(self, n: int, frame: Tensor) -> Tensor:
        simulator: Any = self.simulators[n].unwrapped
        return torch.from_numpy(simulator.background())
