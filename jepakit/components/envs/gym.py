"""Gymnasium envs seen through their rendered frames, N of them as one batched TorchRL env."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, PositiveInt

from jepakit.components.envs.pixels import PixelEnv
from jepakit.components.envs.simulators import draw, make_wrapped, registered_for
from jepakit.components.envs.wrappers.by_path import Wrapping
from jepakit.registry import register


@register("env", "gym")
class GymEnv(PixelEnv):
    """Any Gymnasium id, seen only through its rendered frames, or through observations that are images.

    Args:
        seed: Seed from which all simulators' seeds are drawn.
        processes: How many processes the simulators are spread over; 1: they are stepped in this one.
        id: An id of `gymnasium.make`; `module:id` imports the module first.
        num_envs: N, number of simulators stepped side by side.
        frames: K, number of latest frames in one observation.
        size: Height and width of a frame; null keeps the rendered size.
        grayscale: One luma channel instead of RGB.
        max_episode_steps: Maximum length of an episode, which is then truncated; null keeps Gymnasium's own limit.
        make_kwargs: Further arguments of `gymnasium.make`, such as the env's own options.
        observation: What a frame is: ``render``, what the env draws; ``env``, what it (or the last wrapper) returns, which then has to be
            an image, uint8 [H, W], [H, W, 1] or [H, W, 3].
        wrappers: Gymnasium wrappers around the env, the innermost first. Each is its import path and its arguments:
            ``{path: "gymnasium.wrappers:StickyAction", repeat_action_probability: 0.25}``.

    Raises:
        UserError: The env or a wrapper cannot be created, its kind of actions is not supported, ``observation: env`` finds no images,
            or its ``pixels`` fail `prove_pixels`.
    """

    imports: ClassVar = ("wrappers",)  #: fields that name code: it is part of a run's id

    def __init__(
        self,
        seed: int,
        processes: int = 1,
        *,
        id: str,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] | None = (80, 120),
        grayscale: bool = True,
        max_episode_steps: PositiveInt | None = None,
        make_kwargs: dict[str, JsonValue] | None = None,
        observation: Literal["render", "env"] = "render",
        wrappers: list[Wrapping] | None = None,
    ) -> None:
        self.draws = observation == "render"
        make = partial(make_wrapped, id, registered_for(id), max_episode_steps, make_kwargs or {}, wrappers or [], self.draws, grayscale)
        super().__init__(seed, id, make, num_envs, frames=frames, size=size, grayscale=grayscale, processes=processes)

    def _image(self, n: int) -> NDArray[np.uint8]:
        return draw(self.simulators[n]) if self.draws else super()._image(n)
