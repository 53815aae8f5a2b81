"""An env of your own: N simulators as one batched TorchRL env. A Gymnasium env needs none: write `env: {kind: gym, id: ...}`."""

from __future__ import annotations

import time
from typing import Any

import torch
from jepakit import FrameShape, register
from pydantic import PositiveInt
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase

STATE = ("column", "stacks", "returns", "lengths")  #: of the episodes


@register("env", "my_component")
class MyComponent(EnvBase):
    """A dot steps left or right. It gets reward 1 at the right border, which ends the episode; so do 50 steps.

    Source: a choice. (Name authors, year and title, if there are any.)

    Args:
        num_envs: N, number of dots.
        frames: K, number of latest frames in one observation.
        size: Height and width of a frame.
    """

    def __init__(
        self,
        seed: int,
        *,
        num_envs: PositiveInt = 8,
        frames: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] = (40, 60),
    ) -> None:
        super().__init__(batch_size=[num_envs], device="cpu")
        self.frame_shape = FrameShape(frames, 1, *size)
        self.seconds = 0.0
        n = self.batch_size
        self.observation_spec = Composite(
            {
                "pixels": Bounded(0, 255, shape=(*n, *self.frame_shape), dtype=torch.uint8),
                "episode_return": Unbounded((*n, 1)),
                "episode_length": Unbounded((*n, 1), dtype=torch.int64),
            },
            shape=n,
        )
        self.action_spec = Categorical(2, shape=n)
        self.reward_spec = Unbounded((*n, 1))
        ends = ("done", "terminated", "truncated")
        self.done_spec = Composite({key: Categorical(2, shape=(*n, 1), dtype=torch.bool) for key in ends}, shape=n)

        # The state of the episodes, with a row for each dot. Observations are copies of it.
        self.column = torch.zeros(*n, dtype=torch.int64)
        self.stacks = torch.zeros(*n, *self.frame_shape, dtype=torch.uint8)
        self.returns = torch.zeros(*n, 1)
        self.lengths = torch.zeros(*n, 1, dtype=torch.int64)
        self.is_restored = False  # the next reset continues the restored episodes
        self.set_seed(seed)

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one dot's action: 0 is left, 1 is right."""
        return self.action_spec_unbatched

    def restores_exactly(self) -> bool:
        """Whether a restored env continues exactly as this one would: a resumed run then continues its episodes."""
        return True

    def snapshot(self) -> dict[str, Any]:
        """The state of all episodes: tensors and JSON values."""
        return {name: getattr(self, name).clone() for name in STATE} | {"generator": self.generator.get_state()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to the state of ``snapshot``."""
        for name in STATE:
            setattr(self, name, snapshot[name].clone())
        self.generator.set_state(snapshot["generator"])
        self.is_restored = True

    def _set_seed(self, seed: int | None) -> None:
        self.generator = torch.Generator().manual_seed(seed or 0)

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        started = time.perf_counter()
        asked = None if tensordict is None else tensordict.get("_reset", None)
        which = torch.ones(self.batch_size, dtype=torch.bool) if asked is None else asked.flatten()
        if not self.is_restored:
            start = torch.randint(self.frame_shape.width // 2, self.batch_size, generator=self.generator)
            self.column = torch.where(which, start, self.column)
            self.stacks[which] = self._draw()[which, None]  # the first frame, K times
            self.returns[which], self.lengths[which] = 0.0, 0
        self.is_restored = False
        no = torch.zeros(*self.batch_size, 1, dtype=torch.bool)
        self.seconds += time.perf_counter() - started
        return self._observation().update({"done": no, "terminated": no.clone(), "truncated": no.clone()})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        started = time.perf_counter()
        last = self.frame_shape.width - 1
        self.column = (self.column + 2 * tensordict["action"] - 1).clamp(0, last)
        self.stacks = torch.cat((self.stacks[:, 1:], self._draw()[:, None]), dim=1)
        terminated = (self.column == last)[:, None]
        reward = terminated.float()
        self.returns += reward
        self.lengths += 1
        truncated = self.lengths >= 50
        self.seconds += time.perf_counter() - started
        ends = {"done": terminated | truncated, "terminated": terminated, "truncated": truncated}
        return self._observation().update({"reward": reward, **ends})

    def _observation(self) -> TensorDict:
        now = {"pixels": self.stacks, "episode_return": self.returns, "episode_length": self.lengths}
        return TensorDict({key: value.clone() for key, value in now.items()}, batch_size=self.batch_size)

    def _draw(self) -> Tensor:
        """One frame for each dot, uint8 [N, 1, H, W]: a black bar of at most three columns on white."""
        _, _, height, width = self.frame_shape
        black = (torch.arange(width) - self.column[:, None]).abs() < 2  # [N, W]
        return torch.where(black, 0, 255).to(torch.uint8)[:, None, None].repeat(1, 1, height, 1)
