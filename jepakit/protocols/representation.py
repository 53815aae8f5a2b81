"""What encoders, JEPA's parts and the other loss terms offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class Attentive(Protocol):
    """An encoder, or a module within one, that can show where it looks. `jepakit report` draws that over the frames."""

    def attention(self, pixels: Tensor) -> Tensor | None:
        """uint8 ``pixels`` [B, K, C, H, W] -> weights in [0, 1], [B, T, rows, columns]; None if there is nothing to show.

        T is K, or the number of groups of as many frames that share their patches.
        """
        ...


@runtime_checkable
class Observer(Protocol):
    """A part that learns, or a module within it, such as an encoder's, that keeps statistics of the frames that the run collects."""

    def observe(self, frames: Tensor) -> None:
        """Count uint8 ``frames`` [M, C, H, W] in, each once; called once for each collected batch, for every copy of the encoder.

        With several ranks each has frames of its own: add up by `jepakit.components.shared.ranks.summed`.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """V(θ, x): maps stacks of frames to embeddings. Any ``nn.Module`` with this ``forward`` is an encoder."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]; any number of leading dimensions."""
        ...


@runtime_checkable
class Target(Protocol):
    """V(θ̄, y): the encoder whose embeddings the predictor learns to predict."""

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

        A predictor that keeps a state over several steps also has ``unroll(s_x [B, D], actions [B, H, ...]) -> [B, H, D]``.
        The learner unrolls all others by feeding each prediction back in.
        """
        ...


@runtime_checkable
class Objective(Protocol):
    """The distance between predicted and target embeddings. One that depends on the other rows as well has ``compares_rows = True``."""

    def __call__(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y, both [M, D], of the M predictions that lie within their episodes -> one loss for each, [M].

        If an embedding is N tokens, both are [M, N, D] and the losses are [M, N]. The learner averages the losses.
        """
        ...


@runtime_checkable
class Projector(Protocol):
    """A head between the embeddings ŝ_y and s_y and the objective. The target has its own copy, updated as its encoder is."""

    def __call__(self, s: Tensor) -> Tensor:
        """Embeddings [*, D] -> projections [*, P]; any number of leading dimensions."""
        ...


#: The inputs that the ``forward`` of a regularizer or an auxiliary term may ask for, by parameter name.
INPUTS = {
    "s_x": "float [B, D]: online embeddings of x, with gradient",
    "s_x_next": "float [B, D]: online embeddings of the next stack, with gradient; costs a second encoder pass",
    "s_y_hat": "float [M, D]: the predictions that lie within their episodes, projected if there is a projector",
    "s_y": "float [M, D]: their targets",
    "pixels": "uint8 [B, K, C, H, W]: x, augmented as the encoder saw it",
    "action": "int64 [B] or float [B, A]: the action taken at x",
    "reward": "float [B, 1]: the unscaled reward that followed",
    "s_hat": "float [M, D]: where each of these M steps starts as the predictor has it: s_x at x, then its own ŝ_y, not projected",
    "s_hat_action": "int64 [M] or float [M, A]: the action taken there",
    "s_hat_reward": "float [M, 1]: the unscaled reward that followed",
    "s_hat_terminated": "bool [M, 1]: whether that step ended the episode for good, and not by a limit of time",
}


@runtime_checkable
class LossTerm(Protocol):
    """A regularizer or an auxiliary term: a loss on a minibatch.

    Its ``forward`` names the `INPUTS` that it takes, and returns a scalar to minimise: ``forward(self, s_x)``,
    ``forward(self, s_x, s_x_next, action)``. A loss that couples rows, such as a variance, takes ``gathered(s_x)``
    (`jepakit.components.shared.ranks`), the rows of all ranks; with one process these are ``s_x``.
    """

    def __call__(self, **inputs: Tensor) -> Tensor:
        """The `INPUTS` that ``forward`` names -> scalar."""
        ...


@runtime_checkable
class Augmentation(Protocol):
    """A random change of the pixels that preserves their content: one draw per stack, the same for its K frames."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [B, K, C, H, W] -> uint8, the same shape; draws from torch's global generator."""
        ...


class Embed(Protocol):
    """The online encoder as the acting policy uses it: without gradient, in the run's precision."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> float ``s_x`` [*, D]."""
        ...
