"""What the parts of a run promise each other: small Protocols, shared types and TensorDict keys.

Shapes use the same letters everywhere: N envs, T steps of one rollout, B rows of a minibatch, H the prediction horizon, K stacked frames,
C channels, D the embedding's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from tensordict import TensorDictBase
    from tensordict.nn import TensorDictModuleBase
    from torch import Tensor
    from torchrl.data import TensorSpec

PIXELS = "pixels"  #: uint8 [*, K, C, H, W], the last K frames, newest last
S_X = "s_x"  #: float [*, D], the online encoder's embedding of ``pixels``
ACTION = "action"  #: int64 [*] for discrete actions, float [*, A] for continuous ones
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

    def update(self, encoder: torch.nn.Module) -> None:
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
        """ŝ_y and s_y, both [B, H, D] -> one loss for each prediction, [B, H]; the learner masks and averages."""
        ...


@runtime_checkable
class Regularizer(Protocol):
    """A loss on the embeddings of a minibatch that keeps them from collapsing."""

    def __call__(self, s_x: Tensor) -> Tensor:
        """``s_x`` [B, D] -> scalar, to be minimised."""
        ...


class Term(NamedTuple):
    """One term of Eq. 3: the total loss is the sum of ``weight * loss`` over all terms."""

    weight: float
    loss: Tensor  #: scalar, unweighted: what the metrics log


@runtime_checkable
class Algorithm(Protocol):
    """Acts on, and learns from, a precomputed s_x."""

    gradients_to_encoder: bool  #: the paper's ∇: whether the RL losses reach the encoder

    def policy_head(self) -> TensorDictModuleBase:
        """Reads ``s_x``; writes ``action`` and all that the losses will want to know of the moment of acting."""
        ...

    def losses(self, minibatch: TensorDictBase) -> tuple[Mapping[str, Term], Mapping[str, Tensor]]:
        """The RL terms of Eq. 3 for ``minibatch`` [B], which holds ``s_x``, and further figures to log, each by name."""
        ...

    def anneal(self, progress: float) -> None:
        """Follow the algorithm's own schedules; ``progress`` runs from 0 to 1 and is set before each round of updates."""
        ...


@runtime_checkable
class OnPolicyAlgorithm(Algorithm, Protocol):
    """An algorithm that learns from fresh rollouts, several epochs of minibatches each."""

    rollout_steps: int  #: T, env steps of each env in one collected batch
    epochs: int
    minibatch_size: int

    def prepare(self, rollout: TensorDictBase, embed: Embed) -> TensorDictBase:
        """Add what the losses need (advantages, value targets) to ``rollout`` [N, T]; ``embed`` is the online encoder, without gradient."""
        ...


class Embed(Protocol):
    """The online encoder as acting uses it: no gradient, the run's precision."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]."""
        ...


class Experience(Protocol):
    """Turns collected batches into minibatches: windows [B, H+1] with a mask."""

    def extend(self, batch: TensorDictBase) -> None:
        """Take a collected batch [N, T]."""
        ...

    def windows(self) -> Iterator[TensorDictBase]:
        """The minibatches of one round of updates."""
        ...
