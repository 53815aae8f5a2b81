"""Shared by the planners: sequences drawn from a distribution that is refitted to those that score high."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from jepakit.components.shared.actions import span_of

if TYPE_CHECKING:
    from torchrl.data import TensorSpec

    from jepakit.protocols import Score

LEAST_STD = 0.05  #: of a continuous action on the scale [-1, 1], so that a search goes on looking


class Search(ABC):
    """Draws S sequences, weighs them by their scores, and refits the distribution to them, several times.

    The distribution is independent over steps and dimensions: a categorical for discrete actions, a Gaussian on the scale [-1, 1] for
    continuous ones. It starts wide; where the step before has left a plan, around that. The plan is the final distribution's mode. With
    ``hold`` above 1 it is a distribution of the first of every ``hold`` actions, which the others repeat.

    Args:
        action_spec: The spec of one env's action.
        samples: S, sequences drawn in each iteration, beside those that the policy proposes.
        elites: How many of the sequences count, the best.
        iterations: How often the distribution is refitted.
        momentum: Share of the old distribution in the refitted one.
        hold: Steps for which each action of a sequence is held.

    Raises:
        ValueError: There are more elites than samples, or the actions are neither discrete nor bounded real numbers.
    """

    def __init__(self, action_spec: TensorSpec, samples: int, elites: int, iterations: int, momentum: float, hold: int) -> None:
        self.samples = samples
        self.elites = elites
        self.iterations = iterations
        self.momentum = momentum
        self.hold = hold
        self.space: Choices | Numbers = Choices(action_spec.space.n) if hasattr(action_spec.space, "n") else Numbers(action_spec)
        if elites > samples:
            raise ValueError(f"elites {elites} is more than the {samples} samples that they are chosen from")

    def __call__(self, score: Score, proposals: Tensor, previous: Tensor, going_on: Tensor) -> Tensor:
        """As `jepakit.protocols.Planner` says."""
        state = self.space.start(previous[:, :: self.hold], going_on)
        for _ in range(self.iterations):
            actions = torch.cat((self.space.sample(state, self.samples), proposals[:, :, :: self.hold]), dim=1)  # [N, S + P, H, ...]
            held = actions.repeat_interleave(self.hold, dim=2)[:, :, : previous.shape[1]]
            found = self.space.fit(actions, self.weights(_plans(score(held))))
            state = self.space.cleared(self.momentum * state + (1 - self.momentum) * found)
        return self.space.mode(state).repeat_interleave(self.hold, dim=1)[:, : previous.shape[1]]

    @abstractmethod
    def weights(self, scores: Tensor) -> Tensor:
        """``scores`` [N, S] -> what each sequence counts in the new distribution, [N, S], with the sum 1; 0 for a score of -inf."""


def _plans(scores: Tensor) -> Tensor:
    """``scores`` [N, S] with -inf for a roll-out that overflows, which is no plan; where all of an env's do, they are equally bad."""
    finite = scores.isfinite()
    return scores.where(finite, -torch.inf).where(finite.any(dim=-1, keepdim=True), 0.0)


class Choices:
    """Sequences of discrete actions. The state is their probabilities, [N, H, n]."""

    def __init__(self, number: int) -> None:
        self.number = number

    def start(self, previous: Tensor, going_on: Tensor) -> Tensor:
        """Even; where there is a plan [N, H] of the step before, half of it."""
        even = torch.full((*previous.shape, self.number), 1 / self.number, device=previous.device)
        planned = F.one_hot(previous, self.number).float()
        return torch.where(going_on[:, None, None], (even + planned) / 2, even)

    def sample(self, state: Tensor, count: int) -> Tensor:
        """int64 [N, count, H]."""
        drawn = torch.multinomial(state.flatten(0, 1), count, replacement=True)  # [N·H, count]
        return drawn.unflatten(0, state.shape[:2]).transpose(1, 2)

    def fit(self, actions: Tensor, weights: Tensor) -> Tensor:
        """The weighted shares of ``actions`` [N, S, H]."""
        return torch.einsum("ns,nsha->nha", weights, F.one_hot(actions, self.number).float())

    def cleared(self, state: Tensor) -> Tensor:
        """Probabilities without rounding errors."""
        return state / state.sum(dim=-1, keepdim=True)

    def mode(self, state: Tensor) -> Tensor:
        """int64 [N, H]."""
        return state.argmax(dim=-1)


class Numbers:
    """Sequences of continuous actions. The state is mean and standard deviation on the scale [-1, 1], [N, H, A, 2]."""

    def __init__(self, spec: TensorSpec) -> None:
        if not (hasattr(spec.space, "low") and spec.dtype.is_floating_point):
            raise ValueError(f"actions must be discrete or bounded real numbers; this env's are {type(spec).__name__} of {spec.dtype}")
        self.low, self.high = spec.space.low, spec.space.high

    def start(self, previous: Tensor, going_on: Tensor) -> Tensor:
        """Around the middle; where there is a plan [N, H, A] of the step before, around that."""
        mean = torch.where(going_on[:, None, None], self._scaled(previous), 0.0)
        return torch.stack((mean, torch.ones_like(mean)), dim=-1)

    def sample(self, state: Tensor, count: int) -> Tensor:
        """Float [N, count, H, A], within the bounds."""
        mean, std = state[:, None].unbind(dim=-1)
        noise = torch.randn(len(state), count, *state.shape[1:3], device=state.device)
        return self._bounded((mean + std * noise).clamp(-1, 1))

    def fit(self, actions: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean and standard deviation of ``actions`` [N, S, H, A]."""
        scaled, share = self._scaled(actions), weights[..., None, None]
        mean = (share * scaled).sum(dim=1)
        std = (share * (scaled - mean[:, None]).square()).sum(dim=1).sqrt()
        return torch.stack((mean, std), dim=-1)

    def cleared(self, state: Tensor) -> Tensor:
        """With a standard deviation that is not too small."""
        mean, std = state.unbind(dim=-1)
        return torch.stack((mean, std.clamp(min=LEAST_STD)), dim=-1)

    def mode(self, state: Tensor) -> Tensor:
        """Float [N, H, A]."""
        return self._bounded(state[..., 0].clamp(-1, 1))

    def _bounded(self, scaled: Tensor) -> Tensor:
        return torch.lerp(self.low.to(scaled), self.high.to(scaled), (1 + scaled) / 2)

    def _scaled(self, actions: Tensor) -> Tensor:
        low, high = self.low.to(actions), self.high.to(actions)
        return 2 * (actions - low) / span_of(low, high) - 1
