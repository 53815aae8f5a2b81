"""What envs and their distractions offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from torchrl.data import TensorSpec

    from jepakit.protocols.keys import FrameShape


@runtime_checkable
class Env(Protocol):
    """What the slot ``env`` asks for in addition to TorchRL's ``EnvBase`` of batch size [N].

    Its observations hold uint8 ``pixels`` [N, K, C, H, W], ``episode_return`` and ``episode_length`` [N, 1]. Every step returns fresh
    tensors.

    If learning sees other rewards or episodes than the task has, observations also hold ``learned_return`` [N, 1] and ``episode_over``
    [N, 1], which is False if ``done`` ends an episode only for learning (the next reset continues it). ``episode_return`` and
    ``episode_length`` are then the task's. An env that repeats each action has ``frames_per_step``, the simulator frames in one env step.
    An env whose task has `ReferenceScores` has them as ``reference_scores``.
    """

    frame_shape: FrameShape
    seconds: float  #: wall-clock time spent in steps and resets so far

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one env's action."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """An `Env` that can be saved and restored in the middle of its episodes. Without it, a resumed run begins new episodes."""

    def restores_exactly(self) -> bool:
        """Whether a restored env continues exactly as this one would. A run tries this at its start."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The state of all episodes, as tensors and JSON values."""
        ...

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Return to a snapshot's state; the next reset returns the observations of that state."""
        ...


@runtime_checkable
class Shareable(Protocol):
    """An `Env` whose simulators can be those of one rank: ``set_seed`` then seeds them as one process would, which had all of them."""

    first_simulator: int  #: the number that its first simulator has among those of all ranks


@runtime_checkable
class Pictured(Protocol):
    """An `Env` that can draw its simulators for people; without it, videos show what the agent sees."""

    def picture(self, n: int) -> NDArray[np.uint8]:
        """Simulator ``n`` now, uint8 [H, W, 3] or grey [H, W]: in full size and colour if it can, without distractions."""
        ...


@runtime_checkable
class HasState(Protocol):
    """An `Env` that tells the true state of its simulators, from which probes learn what the embedding knows. The agent never sees it.

    Envs derived from jepakit's `BatchedEnv` have it. A Gymnasium simulator of your own offers its state by a method
    ``true_state() -> {name: number}`` of the env itself, below all wrappers.
    """

    def true_state(self, read: Callable[[Any], Mapping[str, float]] | None = None) -> Sequence[Mapping[str, float]]:
        """The state of each of the N simulators now, as finite numbers by name, the same names at every step.

        Args:
            read: Takes a simulator, below all wrappers, and returns its state. None: the env knows how.
        """
        ...


@runtime_checkable
class HasGoals(Protocol):
    """An `Env` whose episodes each have a goal that can be seen. Reaching it ends the episode; only that step has a reward above zero.

    Envs derived from jepakit's `PixelEnv` have it where a Gymnasium simulator's resets tell ``info["goal_image"]``.
    """

    #: uint8 [N, K, C, H, W]: what each env would show, once its present episode has reached its goal; None: this task has no goals.
    goals: Tensor | None


@runtime_checkable
class Distraction(Protocol):
    """A change of an env's frames that the task does not depend on.

    It is a function of its arguments and of what its constructor was given, without a state of its own: so a resumed run continues exactly.
    One that moves what is seen, as a camera does, has the attribute ``moves = True``: it is then applied to the background's mask, too, as
    to a grey frame of zeros and ones.
    """

    def __call__(self, frame: Tensor, background: Callable[[], Tensor], episode: int, step: int) -> Tensor:
        """uint8 ``frame`` [C, H, W] -> a new uint8 tensor of the same shape.

        Args:
            frame: The frame, after the distractions before this one.
            background: Returns where the frame shows background, as far as the undistracted one did: bool [H, W].
            episode: A number of its own for each episode of each simulator.
            step: Env steps since the episode's start.
        """
        ...


@runtime_checkable
class Distractible(Env, Protocol):
    """An `Env` that shows its frames through distractions, which `jepakit.training.build` sets before the first reset."""

    distractions: Sequence[Distraction]
