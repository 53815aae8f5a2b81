"""No simulator: what observations and actions look like, for runs that learn from recorded data alone."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import torch
from pydantic import PositiveInt
from tensordict import TensorDictBase
from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase

from jepakit.errors import UserError
from jepakit.protocols import EPISODE_LENGTH, EPISODE_RETURN, PIXELS, FrameShape
from jepakit.registry import register


@register("env", "none")
class NoEnv(EnvBase):
    """No simulator: says what observations and actions look like, in a recipe with a ``source``, where there is no env to name.

    Nothing can be played: `eval`, `eval_every` and the probes need a real env. A later run with the same frames can use the encoder.

    Args:
        num_envs: N, a factor on the recorded steps of a batch, as if they came from N envs.
        frames: K, number of latest frames in one observation.
        size: Height and width of a frame.
        grayscale: One luma channel instead of RGB.
        actions: How many discrete actions there are; 1 for data without actions.
        low: Lower bounds of continuous actions, in place of ``actions``.
        high: Upper bounds of continuous actions.

    Raises:
        ValueError: ``low`` and ``high`` do not bound the same actions.
    """

    simulated: ClassVar = False

    def __init__(
        self,
        *,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] = (80, 120),
        grayscale: bool = True,
        actions: PositiveInt = 1,
        low: tuple[float, ...] | None = None,
        high: tuple[float, ...] | None = None,
    ) -> None:
        if len(low or ()) != len(high or ()) or any(one >= other for one, other in zip(low or (), high or (), strict=True)):
            raise ValueError("low and high must bound the same actions: as many numbers each, every one of `low` below that of `high`")
        super().__init__(batch_size=[num_envs], device="cpu")
        self.frame_shape = FrameShape(frames, 1 if grayscale else 3, *size)
        self.seconds = 0.0
        n = self.batch_size
        self.observation_spec = Composite(
            {
                PIXELS: Bounded(0, 255, shape=(*n, *self.frame_shape), dtype=torch.uint8),
                EPISODE_RETURN: Unbounded((*n, 1)),
                EPISODE_LENGTH: Unbounded((*n, 1), dtype=torch.int64),
            },
            shape=n,
        )
        self.action_spec = Categorical(actions, shape=n)
        if low and high:
            bounds = (torch.tensor(each).expand(*n, -1) for each in (low, high))
            self.action_spec = Bounded(*bounds, shape=(*n, len(low)), dtype=torch.float32)
        self.reward_spec = Unbounded((*n, 1))
        flag = Categorical(2, shape=(*n, 1), dtype=torch.bool)
        self.done_spec = Composite({name: flag.clone() for name in ("done", "terminated", "truncated")}, shape=n)

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one env's action."""
        return self.action_spec_unbatched

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> NoReturn:
        raise UserError("the env `none` has no simulator, and nothing can be played in it")

    def _step(self, tensordict: TensorDictBase) -> NoReturn:
        self._reset()

    def _set_seed(self, seed: int | None) -> None:
        pass
