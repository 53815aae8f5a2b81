"""On-policy minibatches: windows [B, H+1] over a rollout, with a mask."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from jepakit.components.shared import ranks
from jepakit.protocols import ACTION, BONUS, MASK, PIXELS, REWARD, S_Y, TERMINATED, Embed, Minibatch, OnPolicyAlgorithm

CHUNK = 256  #: stacks that the target encodes at once


class Rollout:
    """On-policy experience: each collected batch is prepared once and used for several epochs, reshuffled for each.

    Args:
        algorithm: Prepares the batch.
        horizon: H, steps in a window after the first.
        embed: The online encoder, without gradient.
        device: Where the updates run.
        target: If s_y is to be encoded once for a batch: the target encoder, [B, 1, K, C, H, W] -> [B, 1, D].
    """

    def __init__(self, algorithm: OnPolicyAlgorithm, horizon: int, embed: Embed, device: str = "cpu", target: Embed | None = None) -> None:
        self.algorithm = algorithm
        self.horizon = horizon
        self.embed = embed
        self.target = target
        self.device = device

    def extend(self, batch: TensorDictBase) -> None:
        """Replace the rollout with a collected batch [N, T]."""
        batch = batch.to(self.device)
        bonus = batch["next"].get(BONUS, None)
        if bonus is None:
            self.rollout = self.algorithm.prepare(batch, self.embed)
        else:  # the algorithm learns from the sum; windows show the task's reward to the other terms
            task = batch["next", REWARD]
            self.rollout = self.algorithm.prepare(batch.set(("next", REWARD), task + bonus), self.embed)
            self.rollout["next", REWARD] = task
        if self.target:
            stacks = self.rollout["next", PIXELS].flatten(0, 1)[:, None]  # [N·T, 1, K, C, H, W]
            s_y = torch.cat([self.target(chunk) for chunk in stacks.split(CHUNK)])
            self.rollout["next", S_Y] = s_y.unflatten(0, self.rollout.shape).squeeze(2)  # [N, T, D]
        self.steps = self.rollout.exclude(PIXELS, "next").flatten()  # [N·T]

    def minibatches(self) -> Iterator[Minibatch]:
        """Yield minibatches; in each epoch every step of the rollout starts one window."""
        yield from map(self._at, shuffled(self.rollout.numel(), self.algorithm))

    def sample(self, rows: int | None = None) -> Minibatch:
        """A random minibatch of the rollout, or ``rows`` of its steps."""
        return self._at(torch.randperm(self.rollout.numel())[: rows or self.algorithm.minibatch_size])

    def _at(self, starts: Tensor) -> Minibatch:
        return Minibatch(window(self.rollout, starts, self.horizon), self.steps[starts.to(self.device)])

    def learned(self, minibatch: Minibatch) -> None:
        """Do nothing: all steps of a rollout have the same weight."""

    def state_dict(self) -> dict[str, Tensor]:
        """Empty: each round has its own rollout."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing: there is no state."""


def shuffled(steps: int, algorithm: OnPolicyAlgorithm) -> Iterator[Tensor]:
    """In each epoch every position of a batch of ``steps`` once, in minibatches of at least the algorithm's size."""
    everyones = steps * ranks.size()  # a minibatch has rows of every rank, as many of each
    minibatches = max(1, everyones // (algorithm.minibatch_size or everyones))
    for _ in range(algorithm.epochs):
        yield from torch.randperm(steps).tensor_split(minibatches)


def window(rollout: TensorDictBase, starts: Tensor, horizon: int) -> TensorDictBase:
    """The windows [B, H+1] of ``rollout`` [N, T] that begin at the flat positions ``starts`` [B].

    Position h holds the stack h steps after the start. It is the *true* next stack, even at an episode's end, so ``pixels`` from position
    1 on come from ``("next", "pixels")``; ``action``, ``reward``, ``terminated`` and, if there is one, ``s_y`` belong to the step that
    leaves the position. ``mask`` is true where the position is in the first step's episode and in this rollout; elsewhere the content is
    arbitrary. Position 0 and, at horizon 1, position 1 are always inside.
    """
    starts = starts.to(rollout[PIXELS].device)
    env, start = starts // rollout.shape[1], starts % rollout.shape[1]
    step = start[:, None] + torch.arange(horizon + 1, device=starts.device)  # [B, H+1]
    inside = step < rollout.shape[1]
    step = step.clamp(max=rollout.shape[1] - 1)
    env = env[:, None].expand_as(step)

    here = _stacks(rollout[PIXELS], env[:, :1], step[:, :1])
    after = _stacks(rollout["next", PIXELS], env[:, :-1], step[:, :-1])

    # Position h is inside if the h steps before it are all in the rollout, and none but the last of them ends the episode.
    going_on = ~rollout["next", "done"].squeeze(-1)[env, step] & inside
    first = torch.ones_like(inside[:, :1])
    unbroken = torch.cat((first, going_on[:, :-1].cumprod(dim=1).bool()), dim=1)  # none of steps 0..h-1 ends the episode
    encoded = {S_Y: rollout["next", S_Y][env, step]} if S_Y in rollout["next"].keys() else {}  # noqa: SIM118
    return TensorDict(
        {
            PIXELS: torch.cat((here, after), dim=1),  # [B, H+1, K, C, H, W]
            ACTION: rollout[ACTION][env, step],
            REWARD: rollout["next", "reward"][env, step],
            TERMINATED: rollout["next", "terminated"][env, step],
            MASK: torch.cat((first, unbroken[:, :-1] & inside[:, :-1]), dim=1),
            **encoded,
        },
        batch_size=step.shape,
        device=rollout.device,
    )


def _stacks(pixels: Tensor, env: Tensor, step: Tensor) -> Tensor:
    """``pixels`` [N, T, K, C, H, W] at ``env`` and ``step``, both [B, P]: [B, P, K, C, H, W].

    On a CPU, ``index_select`` copies whole stacks, some 20 times as fast as ``pixels[env, step]``, which copies single bytes.
    """
    positions = (env * pixels.shape[1] + step).flatten()
    return pixels.flatten(0, 1).index_select(0, positions).unflatten(0, step.shape)
