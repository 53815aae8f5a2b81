"""What planning in the latent space needs: a search, and models of reward and termination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class Score(Protocol):
    """Judges sequences of actions by the predictor's roll-outs, for N envs at once."""

    def __call__(self, actions: Tensor) -> Tensor:
        """``actions`` [N, S, H] (int64) or [N, S, H, A] (float) -> the return that each promises, [N, S]."""
        ...


@runtime_checkable
class Planner(Protocol):
    """Searches for a sequence of actions that scores high. It keeps nothing from call to call."""

    def __call__(self, score: Score, proposals: Tensor, previous: Tensor, going_on: Tensor) -> Tensor:
        """A plan for each of N envs, [N, H] (int64) or [N, H, A] (float within the bounds); its first action is taken.

        Args:
            score: Judges sequences.
            proposals: P sequences for each env, which the policy proposes: [N, P, H, ...]; P may be 0.
            previous: The plan of the step before without its first action, and its last one twice: [N, H, ...].
            going_on: bool [N]: whether there is one; elsewhere the content of ``previous`` is arbitrary.
        """
        ...


@runtime_checkable
class PredictsReward(Protocol):
    """An auxiliary term that can tell the reward."""

    def reward(self, s: Tensor, action: Tensor) -> Tensor:
        """The expected unscaled reward [B] of ``action`` [B] or [B, A] at the embedding ``s`` [B, D]."""
        ...


@runtime_checkable
class PredictsTermination(Protocol):
    """An auxiliary term that can tell whether an episode goes on."""

    def continues(self, s: Tensor, action: Tensor) -> Tensor:
        """The probability [B] that the episode does not terminate by ``action`` [B] or [B, A] at the embedding ``s`` [B, D]."""
        ...
