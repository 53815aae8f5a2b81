"""Where minibatches come from: windows [B, H+1] over a rollout, with a mask."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from jepakit.protocols import ACTION, MASK, PIXELS, REWARD, Embed, Minibatch, OnPolicyAlgorithm


class Rollout:
    """On-policy experience: each collected batch is prepared once and gone through for several epochs, shuffled anew each time."""

    def __init__(self, algorithm: OnPolicyAlgorithm, horizon: int, embed: Embed, device: str = "cpu") -> None:
        self.algorithm = algorithm
        self.horizon = horizon
        self.embed = embed
        self.device = device

    def extend(self, batch: TensorDictBase) -> None:
        """Take a collected batch [N, T] in place of the one before."""
        self.rollout = self.algorithm.prepare(batch.to(self.device), self.embed)

    def minibatches(self) -> Iterator[Minibatch]:
        """Every step of the rollout starts one window an epoch."""
        steps = self.rollout.numel()
        for _ in range(self.algorithm.epochs):
            for starts in torch.randperm(steps).tensor_split(max(1, steps // self.algorithm.minibatch_size)):
                yield self._at(starts)

    def sample(self) -> Minibatch:
        """Some steps of the rollout."""
        return self._at(torch.randperm(self.rollout.numel())[: self.algorithm.minibatch_size])

    def _at(self, starts: Tensor) -> Minibatch:
        steps = self.rollout.exclude(PIXELS, "next").flatten()[starts.to(self.device)]
        return Minibatch(window(self.rollout, starts, self.horizon), steps)

    def learned(self, minibatch: Minibatch) -> None:
        """Nothing: all steps of a rollout count the same."""

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: each round has a rollout of its own."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing to load."""


def window(rollout: TensorDictBase, starts: Tensor, horizon: int) -> TensorDictBase:
    """The windows [B, H+1] of ``rollout`` [N, T] that begin at the flat positions ``starts`` [B].

    Position h holds the stack that followed h steps after the start. It is the *true* next stack, also at an episode's end, so
    ``pixels`` from position 1 on come from ``("next", "pixels")``; ``action`` and ``reward`` are those of the step that leaves the
    position. ``mask`` tells the positions that the start's own episode and this rollout reach; what stands at the others is arbitrary.
    Position 0 and, at horizon 1, position 1 are always reached.
    """
    starts = starts.to(rollout[PIXELS].device)
    env, start = starts // rollout.shape[1], starts % rollout.shape[1]
    step = start[:, None] + torch.arange(horizon + 1, device=starts.device)  # [B, H+1]
    inside = step < rollout.shape[1]
    step = step.clamp(max=rollout.shape[1] - 1)
    env = env[:, None].expand_as(step)

    here = rollout[PIXELS][env[:, :1], step[:, :1]]
    after = rollout["next", PIXELS][env[:, :-1], step[:, :-1]]

    # position h is reached when each of the h steps before it is in the rollout and only the last of them may end the episode
    going_on = ~rollout["next", "done"].squeeze(-1)[env, step] & inside
    first = torch.ones_like(inside[:, :1])
    unbroken = torch.cat((first, going_on[:, :-1].cumprod(dim=1).bool()), dim=1)  # steps 0..h-1 all went on
    return TensorDict(
        {
            PIXELS: torch.cat((here, after), dim=1),  # [B, H+1, K, C, H, W]
            ACTION: rollout[ACTION][env, step],
            REWARD: rollout["next", "reward"][env, step],
            MASK: torch.cat((first, unbroken[:, :-1] & inside[:, :-1]), dim=1),
        },
        batch_size=step.shape,
        device=rollout.device,
    )
