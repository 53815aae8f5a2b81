"""What RL algorithms offer, and where their minibatches come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeGuard, runtime_checkable

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from tensordict.nn import TensorDictModuleBase
    from torch import Tensor, nn

    from jepakit.protocols.representation import Embed


class Annealed(Protocol):
    """A part with schedules of its own. Every algorithm is one; any other component, a module within one, or an experience may be."""

    def anneal(self, progress: float) -> None:
        """Set the schedules to ``progress``, which rises from 0 to 1 over the run. Called before each round of updates."""
        ...


def is_annealed(part: object) -> TypeGuard[Annealed]:
    """Whether a part is `Annealed`: its class has the method. An attribute of its own by that name is something else."""
    return callable(getattr(type(part), "anneal", None))


@runtime_checkable
class ShowsPolicy(Protocol):
    """An `Algorithm` that says more about its policy, for diagnostics."""

    def policy_figures(self, steps: TensorDictBase) -> Mapping[str, Tensor]:
        """Scalars by name (``entropy``, ``kl``, …) on ``steps`` [B], as `losses` reads them, after a round of updates; changes nothing."""
        ...


@runtime_checkable
class ShowsValues(Protocol):
    """An `Algorithm` whose critic can be judged, for diagnostics."""

    def values_and_targets(self, steps: TensorDictBase) -> tuple[Tensor, Tensor]:
        """V or Q of ``steps`` [B], as `losses` reads them, and what it is trained towards, both [B]; changes nothing."""
        ...


class Term(NamedTuple):
    """One term of Eq. 3: the total loss is the sum of ``weight * loss`` over all terms."""

    weight: float
    loss: Tensor  #: scalar, unweighted, as the metrics log it


@runtime_checkable
class Algorithm(Annealed, Protocol):
    """Acts on, and learns from, a precomputed s_x.

    One whose class says ``learns = False`` learns from no rewards: it acts at random where an env is stepped, and recorded data may take
    the env's place.
    """

    gradients_to_encoder: bool  #: the paper's ∇: whether the RL losses reach the encoder
    rollout_steps: int  #: T, env steps of each env in one collected batch

    @property
    def minibatch_size(self) -> int | None:
        """B; None, on-policy, is the whole of each collected batch."""
        ...

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action`` and everything else about acting that the losses need, such as log-probabilities."""
        ...

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The RL terms of Eq. 3 for ``minibatch`` [B], which holds ``s_x``, and further metrics to log, each by name."""
        ...


@runtime_checkable
class OnPolicyAlgorithm(Algorithm, Protocol):
    """An algorithm that learns from fresh rollouts, several epochs of minibatches each."""

    epochs: int

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add what the losses need (advantages, value targets) to ``rollout`` [N, T]; ``embed`` is the online encoder, without gradient."""
        ...


@runtime_checkable
class OffPolicyAlgorithm(Algorithm, Protocol):
    """An algorithm that learns from replay.

    Its minibatches [B] hold ``s_x`` and ``action``, and under ``next``: ``reward`` (the n-step return Σ γ^k r), ``s_x`` (embedded by
    `bootstrap_encoder` from the stack n steps later, or at the episode's end), ``terminated`` and ``done``. They also hold
    ``steps_to_next_obs`` [B, 1] (the number of rewards in the return) and, under prioritised replay, ``priority_weight`` [B]. ``losses``
    writes ``td_error`` [B] into the minibatch; prioritised replay samples in proportion to it. The policy head acts greedily when TorchRL's
    ``exploration_type()`` is ``MODE`` or ``DETERMINISTIC``, and explores when it is ``RANDOM``.
    """

    minibatch_size: int  #: B
    gamma: float  #: discount γ
    n_step: int  #: the most rewards that an n-step return adds up
    learning_starts: int  #: env steps before the first update
    updates_per_step: float  #: optimizer steps per env step
    bootstrap_encoder: nn.Module  #: embeds the stacks that values bootstrap from, without gradient; no optimizer trains it

    def updated(self, encoder: nn.Module) -> None:
        """Update the target networks; called once after every optimizer step."""
        ...


@runtime_checkable
class ActionValued(Protocol):
    """An algorithm whose policy head writes neither ``state_value`` nor ``action_value``, and whose critic can be asked."""

    def action_value(self, s_x: Tensor, action: Tensor) -> Tensor:
        """Q [B] of ``action`` [B] or [B, A], in units of scaled rewards, without gradient."""
        ...


@runtime_checkable
class ManyViews(Protocol):
    """An off-policy algorithm that averages over several augmented views of a stack.

    With more than one view, its minibatches also hold ``s_x_views``: [B, M, D], and under ``next`` [B, K, D]. The other terms of Eq. 3 read
    the first view.
    """

    views: int  #: M, views of x
    next_views: int  #: K, views of the stack that values bootstrap from


class Minibatch(NamedTuple):
    """What one optimizer step learns from."""

    window: (
        TensorDictBase  #: [B, H+1]: ``pixels``, ``action``, ``reward``, ``terminated``, ``mask``; position 0 is x, the next steps follow
    )
    steps: TensorDictBase  #: [B]: what the algorithm's losses read, in addition to ``s_x``


class Experience(Protocol):
    """Turns collected batches into minibatches."""

    def extend(self, batch: TensorDictBase) -> None:
        """Add a collected batch [N, T]."""
        ...

    def minibatches(self) -> Iterator[Minibatch]:
        """The minibatches of one round of updates."""
        ...

    def sample(self, rows: int | None = None) -> Minibatch:
        """One minibatch of the collected steps: as many as the algorithm's minibatches have, or at most ``rows``."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The state that it carries from one round of updates to the next."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore that state."""
        ...

    def learned(self, minibatch: Minibatch) -> None:
        """Take what the losses wrote into ``minibatch.steps`` (priorities). Called after each optimizer step."""
        ...
