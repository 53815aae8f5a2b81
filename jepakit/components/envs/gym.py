"""Gymnasium envs seen through their rendered frames, N of them as one batched TorchRL env."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, PositiveInt

from jepakit.components.envs.pixels import PixelEnv
from jepakit.components.envs.simulators import draw, make_simulator
from jepakit.components.envs.tape import Simulator
from jepakit.components.envs.wrappers.by_path import Wrapping, wrapped
from jepakit.components.envs.wrappers.observed_image import ObservedImage
from jepakit.errors import UserError
from jepakit.registry import register


@register("env", "gym")
class GymEnv(PixelEnv):
    """Any Gymnasium id, seen only through its rendered frames, or through observations that are images.

    Args:
        seed: Seed from which all simulators' seeds are drawn.
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
        observation: Literal["render", "env"] = "render",
        wrappers: list[Wrapping] | None = None,
    ) -> None:
        self.draws = observation == "render"

        def make() -> Simulator:
            simulator = make_simulator(id, max_episode_steps, make_kwargs or {}, drawing=self.draws)
            for wrapping in wrappers or []:
                simulator = wrapped(simulator, wrapping)
            return simulator if self.draws else _observed(simulator, id, grayscale)

        super().__init__(seed, id, make, num_envs, frames=frames, size=size, grayscale=grayscale)

    def _image(self, n: int) -> NDArray[np.uint8]:
        return draw(self.simulators[n]) if self.draws else super()._image(n)


def _observed(simulator: Simulator, id: str, grayscale: bool) -> Simulator:
    try:
        observed = ObservedImage(simulator)
    except ValueError as error:
        raise UserError(f"id {id}: `observation: env` does not fit: {error}; `observation: render` takes what it draws") from error
    image, _ = observed.reset(seed=0)
    if not grayscale and image.shape[2:] != (3,):
        raise UserError(f"id {id}: its observations are grey: write `grayscale: true`")
    return observed
