"""What the parts of a run promise each other: small Protocols, shared types and TensorDict keys.

Shapes use the same letters everywhere: N envs, T steps of one rollout, B rows of a minibatch, H the prediction horizon, K stacked frames,
C channels, D the embedding's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from tensordict.nn import TensorDictModuleBase
    from torch import Tensor, nn
    from torchrl.data import TensorSpec

PIXELS = "pixels"  #: uint8 [*, K, C, H, W], the last K frames, newest last
S_X = "s_x"  #: float [*, D], the online encoder's embedding of ``pixels``
ACTION = "action"  #: int64 [*] for discrete actions, float [*, A] for continuous ones
REWARD = "reward"  #: float32 [*, 1], unscaled
MASK = "mask"  #: bool [B, H+1]: this position of the window lies in the same episode as its start
EPISODE_RETURN = "episode_return"  #: float32 [*, 1], undiscounted and unscaled, so far
EPISODE_LENGTH = "episode_length"  #: int64 [*, 1], env steps so far


class FrameShape(NamedTuple):
    """The shape of one observation's ``pixels``: K stacked frames of C channels, H rows and W columns."""

    frames: int
    channels: int
    height: int
    width: int


@runtime_checkable
class Env(Protocol):
    """What a TorchRL ``EnvBase`` of batch size [N] has besides, to stand in the slot ``env``.

    Its observations hold uint8 ``pixels`` [N, K, C, H, W], ``episode_return`` and ``episode_length`` [N, 1], fresh tensors at every step.
    """

    frame_shape: FrameShape
    seconds: float  #: spent in steps and resets so far

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one env's action."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """What an `Env` has besides, so that a run resumes in the middle of its episodes; without it, new ones begin."""

    def restores_exactly(self) -> bool:
        """Whether an env that was restored goes on just as this one would; tried out at a run's start."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Where all episodes are: tensors, and what JSON can hold."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go there; the next reset returns the observations as they are."""
        ...


@runtime_checkable
class Annealed(Protocol):
    """A part with schedules of its own: a target or an experience may be one, an algorithm is."""

    def anneal(self, progress: float) -> None:
        """Follow them; ``progress`` runs from 0 to 1 and is set before each round of updates."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """V(θ, x): maps stacks of frames to embeddings. Any ``nn.Module`` with this ``forward`` will do."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]; any number of leading dimensions."""
        ...


@runtime_checkable
class Target(Protocol):
    """V(θ̄, y): the encoder whose embeddings the predictor has to hit."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_y`` [*, D]."""
        ...

    def update(self, encoder: nn.Module) -> None:
        """Follow the online encoder; called once after every optimizer step."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """Maps s_x[t] and a[t] to the predicted ŝ_y[t+1]."""

    def __call__(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D] and ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D].

        A predictor that keeps a state over several steps also has ``unroll(s_x [B, D], actions [B, H, ...]) -> [B, H, D]``;
        for all others the learner feeds each prediction back in.
        """
        ...


@runtime_checkable
class Objective(Protocol):
    """The distance between predicted and target embeddings."""

    def __call__(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y, both [M, D], of the M predictions that lie within their episodes -> one loss for each, [M].

        For embeddings of N tokens both are [M, N, D] and the losses [M, N]. The learner averages them.
        """
        ...


@runtime_checkable
class Projector(Protocol):
    """A head that ŝ_y and s_y pass on their way to the objective. The target has its own, which follows as its encoder does."""

    def __call__(self, s: Tensor) -> Tensor:
        """Embeddings [*, D] -> projections [*, P]; any number of leading dimensions."""
        ...


#: What a regularizer's or an auxiliary term's ``forward`` may ask for, by the names of its parameters.
INPUTS = {
    "s_x": "float [B, D]: online embeddings of x, with gradient",
    "s_x_next": "float [B, D]: online embeddings of the next stack, with gradient; costs a second pass of the encoder",
    "s_y_hat": "float [M, D]: the predictions that lie within their episodes, projected where there is a projector",
    "s_y": "float [M, D]: their targets",
    "pixels": "uint8 [B, K, C, H, W]: x, augmented as the encoder saw it",
    "action": "int64 [B] or float [B, A]: what was done at x",
    "reward": "float [B, 1]: the unscaled reward that followed",
}


@runtime_checkable
class LossTerm(Protocol):
    """A regularizer or an auxiliary term: a loss on a minibatch.

    Its ``forward`` takes whatever it names of `INPUTS` and returns a scalar to be minimised: ``forward(self, s_x)``,
    ``forward(self, s_x, s_x_next, action)``.
    """

    def __call__(self, **inputs: Tensor) -> Tensor:
        """Those of `INPUTS` that ``forward`` names -> scalar."""
        ...


@runtime_checkable
class Augmentation(Protocol):
    """A random change of stacks that leaves what they mean, drawn anew for each stack and the same for its K frames."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [B, K, C, H, W] -> uint8, the same shape; draws from torch's global generator."""
        ...


class Term(NamedTuple):
    """One term of Eq. 3: the total loss is the sum of ``weight * loss`` over all terms."""

    weight: float
    loss: Tensor  #: scalar, unweighted: what the metrics log


@runtime_checkable
class Algorithm(Annealed, Protocol):
    """Acts on, and learns from, a precomputed s_x."""

    gradients_to_encoder: bool  #: the paper's ∇: whether the RL losses reach the encoder
    rollout_steps: int  #: T, env steps of each env in one collected batch
    minibatch_size: int  #: B

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action`` and all that the losses will want to know of the moment of acting."""
        ...

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The RL terms of Eq. 3 for ``minibatch`` [B], which holds ``s_x``, and further figures to log, each by name."""
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

    Its minibatches [B] hold ``s_x``, ``action``, and under ``next``: ``reward`` (the n-step return Σ γ^k r), ``s_x`` (the stack that the
    value is bootstrapped from, n steps on or at the episode's end, through `bootstrap_encoder`), ``terminated``, ``done``; beside them
    ``steps_to_next_obs`` [B, 1] (how many rewards are in the return) and, of prioritised replay, ``priority_weight`` [B]. ``losses`` writes
    ``td_error`` [B] into the minibatch: what prioritised replay draws by. The policy head acts greedily where TorchRL's
    ``exploration_type()`` is ``MODE`` or ``DETERMINISTIC``, and explores where it is ``RANDOM``.
    """

    gamma: float  #: discount γ
    n_step: int  #: rewards in a return, at most
    learning_starts: int  #: env steps before the first update
    updates_per_step: float  #: optimizer steps per env step
    bootstrap_encoder: nn.Module  #: embeds the stacks that values are bootstrapped from, without gradient; in no optimizer

    def updated(self, encoder: nn.Module) -> None:
        """Follow with target networks; called once after every optimizer step."""
        ...


class Embed(Protocol):
    """The online encoder as acting uses it: no gradient, the run's precision."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]."""
        ...


class Minibatch(NamedTuple):
    """What one optimizer step learns from."""

    window: TensorDictBase  #: [B, H+1]: ``pixels``, ``action``, ``reward``, ``mask``; position 0 is x, the others follow it
    steps: TensorDictBase  #: [B]: what the algorithm's losses read, beside ``s_x``


class Experience(Protocol):
    """Turns collected batches into minibatches."""

    def extend(self, batch: TensorDictBase) -> None:
        """Take a collected batch [N, T]."""
        ...

    def minibatches(self) -> Iterator[Minibatch]:
        """Those of one round of updates."""
        ...

    def sample(self) -> Minibatch:
        """One minibatch of what has been collected."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What it carries from one round of updates to the next."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        ...

    def learned(self, minibatch: Minibatch) -> None:
        """Told after each optimizer step, with what the losses wrote into ``minibatch.steps`` (priorities)."""
        ...
