"""What collectors offer, and what a run gives them: the env, the policy, and how both are made in another process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tensordict import TensorDictBase
    from tensordict.nn import TensorDictModuleBase
    from torch import nn
    from torchrl.envs import EnvBase


class WorkerLost(RuntimeError):
    """A collector's worker has ended or failed; what it collected since the last batch is lost."""


class Weights(NamedTuple):
    """What acting depends on, at one moment of training."""

    version: int  #: counts the calls of `Acting.weights`
    content: NDArray[np.uint8]  #: every parameter and buffer of the encoder and the algorithm, one after the other
    progress: float = math.nan  #: where the last round of updates set all schedules; NaN before the first


class Collected(NamedTuple):
    """One batch."""

    batch: TensorDictBase  #: [N, T]; ``policy_version`` [N, T] if workers acted: the `Weights.version` that chose the action
    seconds: Mapping[str, float]  #: wall-clock time that the batch took, by part: ``env``, ``policy``


class Actor(Protocol):
    """An env and the policy that acts in it, in a process of their own."""

    env: EnvBase  #: N / workers simulators
    policy: TensorDictModuleBase
    modules: nn.Module  #: the encoder and the algorithm
    device: str  #: of the policy

    def take(self, weights: Weights) -> None:
        """Act with ``weights`` from now on."""
        ...

    def generators(self) -> dict[str, Any]:
        """The states of this process's random number generators."""
        ...

    def set_generators(self, state: dict[str, Any]) -> None:
        """Set them."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The state of the env's episodes and of the generators."""
        ...


class Acting(Protocol):
    """A run's side of a `Collector`."""

    env: EnvBase  #: N simulators, in this process
    policy: TensorDictModuleBase  #: acts with the learner's own parts, in this process
    device: str  #: of the policy
    steps: int  #: T

    def actor(
        self, worker: int, workers: int, snapshot: dict[str, Any] | None = None, generators: dict[str, Any] | None = None
    ) -> Callable[[], Actor]:
        """What makes the `Actor` of a worker, in a process that has imported nothing yet; it can be pickled.

        Args:
            worker: Its number, from 0.
            workers: How many there are; they share N equally.
            snapshot: What its `Actor.snapshot` returned: its env continues there.
            generators: The random numbers that it begins with; None: of its own.
        """
        ...

    def weights(self) -> Weights:
        """The learner's weights of now."""
        ...

    def generators(self) -> dict[str, Any]:
        """The states of this process's random number generators."""
        ...

    def set_generators(self, state: dict[str, Any]) -> None:
        """Set them."""
        ...


@runtime_checkable
class Collector(Protocol):
    """Collects the batches [N, T] that a learner learns from. Its constructor starts nothing.

    A collector whose policy may be older than the learner's has ``lags = True``. On-policy algorithms refuse it, unless it also has a field
    ``allow_lag``, and that is set. One whose class says ``in_process = True`` acts in the run's own process, without workers; with
    ``on_cluster = True`` its workers use none of this machine's cores.
    """

    workers: int  #: how many processes act; they must divide N
    lags: bool  #: whether a batch may come from older weights than the learner's of when it is asked for
    restores: bool  #: whether `snapshot` and `restore` continue all episodes exactly, if the env can

    def restore(self, acting: Acting, snapshot: dict[str, Any]) -> None:
        """Begin, when `begin` is called, where another run's collector was at ``snapshot``.

        Raises:
            ValueError, LookupError, TypeError: ``snapshot`` is not of this collector.
        """
        ...

    def begin(self, acting: Acting) -> None:
        """Start what it needs. It may draw random numbers."""
        ...

    def collect(self) -> Collected:
        """The next batch.

        Raises:
            WorkerLost: A worker has ended or failed. The learner is as it was after the batch before.
        """
        ...

    def snapshot(self) -> dict[str, Any]:
        """The state of all episodes between two batches, as tensors and JSON values."""
        ...

    def close(self) -> None:
        """End what `begin` has started; also called if that failed, or twice."""
        ...
