"""Gymnasium envs seen through their rendered frames, N of them as one batched TorchRL env."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import JsonValue, PositiveInt
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase

from jepakit.envs.frames import to_frame
from jepakit.envs.proof import prove_pixels
from jepakit.envs.simulators import draw, make_simulator
from jepakit.errors import UserError
from jepakit.protocols import ACTION, EPISODE_LENGTH, EPISODE_RETURN, PIXELS, FrameShape
from jepakit.registry import register

ENDS = ("done", "terminated", "truncated")


@register("env", "gym")
class GymEnv(EnvBase):
    """Any Gymnasium id, seen only through its rendered frames.

    Observations hold ``pixels``, ``episode_return`` and ``episode_length``, in fresh tensors at every step: a collector keeps references,
    and an episode's final stack must outlive the reset that follows it.

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
        super().__init__(batch_size=[num_envs], device="cpu")
        self.id, self.size, self.grayscale = id, size, grayscale
        self.simulators = [make_simulator(id, max_episode_steps, make_kwargs or {}) for _ in range(num_envs)]
        self.action_space = self.simulators[0].action_space
        height, width = size or draw(self.simulators[0]).shape[:2]
        self.frame_shape = FrameShape(frames, 1 if grayscale else 3, height, width)
        self._make_specs()

        # All that an episode is made of, beside the simulators themselves. Written here in place, handed out as copies only.
        self.stacks = torch.zeros(num_envs, *self.frame_shape, dtype=torch.uint8)
        self.returns = torch.zeros(num_envs, 1)
        self.lengths = torch.zeros(num_envs, 1, dtype=torch.int64)
        self.seconds = 0.0  #: spent in steps and resets so far

        # Proved here rather than on request, so that no caller can forget it. Seeding anew makes the proof leave no trace in the episodes.
        self.set_seed(seed)
        prove_pixels(self)
        self.set_seed(seed)
        self.is_closed = False

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one env's action."""
        return self.action_spec_unbatched

    def render(self) -> list[NDArray[np.uint8]]:
        """What each simulator draws now, uint8 [H, W, 3] at its own size."""
        return [draw(simulator) for simulator in self.simulators]

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Closes the simulators."""
        super().close(raise_if_closed=raise_if_closed)
        for simulator in self.simulators:
            simulator.close()

    def _make_specs(self) -> None:
        n = self.batch_size
        self.observation_spec = Composite(
            {
                PIXELS: Bounded(0, 255, shape=(*n, *self.frame_shape), dtype=torch.uint8),
                EPISODE_RETURN: Unbounded((*n, 1)),
                EPISODE_LENGTH: Unbounded((*n, 1), dtype=torch.int64),
            },
            shape=n,
        )
        self.action_spec = self._make_action_spec()
        self.reward_spec = Unbounded((*n, 1))
        self.done_spec = Composite({key: Categorical(2, shape=(*n, 1), dtype=torch.bool) for key in ENDS}, shape=n)

    def _make_action_spec(self) -> TensorSpec:
        space, n = self.action_space, self.batch_size
        if isinstance(space, spaces.Discrete):
            return Categorical(int(space.n), shape=n)
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype.kind == "f" and space.is_bounded():
            low, high = (torch.from_numpy(bound.astype(np.float32)).expand(*n, -1) for bound in (space.low, space.high))
            return Bounded(low, high, shape=low.shape, dtype=torch.float32)
        raise UserError(f"id {self.id}: its actions are {space}; supported are Discrete and bounded one-dimensional float Box actions")

    def _set_seed(self, seed: int | None) -> None:
        # Each simulator is seeded at its next reset only: later episodes continue its own stream.
        self._seeds: list[int | None] = np.random.SeedSequence(seed).generate_state(self.numel()).tolist()

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        started = time.perf_counter()
        asked = None if tensordict is None else tensordict.get("_reset", None)
        which = range(self.numel()) if asked is None else asked.flatten().nonzero().flatten().tolist()
        for n in which:
            self.simulators[n].reset(seed=self._seeds[n])
            self._seeds[n] = None
            self.stacks[n] = self._frame(n)
            self.returns[n], self.lengths[n] = 0.0, 0
        observation = self._observation().update({key: torch.zeros_like(self.lengths, dtype=torch.bool) for key in ENDS})
        self.seconds += time.perf_counter() - started
        return observation

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        started = time.perf_counter()
        rewards, terminated, truncated = [], [], []
        for simulator, action in zip(self.simulators, self._to_gymnasium(tensordict[ACTION]), strict=True):
            _, reward, has_terminated, has_truncated, _ = simulator.step(action)
            rewards.append([float(reward)])
            terminated.append([bool(has_terminated)])
            truncated.append([bool(has_truncated)])
        frames = torch.stack([self._frame(n) for n in range(self.numel())])
        self.stacks = torch.cat([self.stacks[:, 1:], frames[:, None]], dim=1)
        reward = torch.tensor(rewards)
        self.returns += reward
        self.lengths += 1
        ends = {"terminated": torch.tensor(terminated), "truncated": torch.tensor(truncated)}
        step = self._observation().update({"reward": reward, **ends, "done": ends["terminated"] | ends["truncated"]})
        self.seconds += time.perf_counter() - started
        return step

    def _frame(self, n: int) -> Tensor:
        return to_frame(draw(self.simulators[n]), self.size, self.grayscale)

    def _observation(self) -> TensorDict:
        now = {PIXELS: self.stacks, EPISODE_RETURN: self.returns, EPISODE_LENGTH: self.lengths}
        return TensorDict({key: value.clone() for key, value in now.items()}, batch_size=self.batch_size, device=self.device)

    def _to_gymnasium(self, actions: Tensor) -> list[Any]:
        if isinstance(self.action_space, spaces.Discrete):
            return (actions + int(self.action_space.start)).tolist()
        return list(actions.numpy().astype(self.action_space.dtype))
