"""Collecting in rounds: all workers get the learner's weights, act, and hand in their part of the batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tensordict import TensorDictBase

from jepakit.protocols import Acting, Actor, Collected


class Remote(Protocol):
    """Running workers, of whatever sort. Its methods raise `WorkerLost`."""

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]] | None = None) -> list[Any]:
        """Call a method of each worker's `WorkerCollector`, each with its own arguments."""
        ...

    def batch(self) -> TensorDictBase:
        """The next batch: [workers, N / workers, T]."""
        ...

    def close(self) -> None:
        """End them."""
        ...


class Rounds:
    """A `jepakit.protocols.Collector` of workers that act between two rounds of updates, as ``direct`` does.

    Worker 0 goes on with the run's random numbers, and hands them back: one worker collects what ``direct`` would.
    """

    lags = False
    restores = True

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.remote: Remote | None = None
        self.earlier: list[dict[str, Any]] = []  #: what the workers restore when they begin
        self.last: dict[str, Any] = {}

    @abstractmethod
    def start(self, acting: Acting, make: Sequence[Callable[[], Actor]]) -> Remote:
        """Start workers."""

    def restore(self, acting: Acting, snapshot: dict[str, Any]) -> None:
        """Keep what each worker restores when it begins."""
        workers = [{"env": worker["env"], "generators": worker["generators"]} for worker in snapshot["workers"]]
        if len(workers) != self.workers:
            raise ValueError(f"it is of {len(workers)} workers, and this recipe has {self.workers}")
        self.earlier = workers

    def begin(self, acting: Acting) -> None:
        """Start the workers, with what they restore."""
        self.acting = acting
        earlier: list[dict[str, Any] | None] = [*self.earlier] or [None] * self.workers
        first = [acting.generators(), *[None] * (self.workers - 1)]
        self.remote = self.start(acting, [acting.actor(n, self.workers, earlier[n], first[n]) for n in range(self.workers)])
        acting.set_generators(self.remote.call("report")[0][1])  # the start draws random numbers, as it does in `direct`
        self.generators = [state and state["generators"] for state in earlier]

    def collect(self) -> Collected:
        """Hand out the weights, and act for T steps."""
        if self.remote is None:
            raise RuntimeError("begin() comes first")
        weights = self.acting.weights()
        generators = [self.acting.generators(), *self.generators[1:]]
        self.remote.call("take", [(weights, state) for state in generators])
        self.generators = [None] * self.workers  # from now on, workers but the first keep their own
        batch = self.remote.batch().flatten(0, 1)
        reports = self.remote.call("report")
        self.acting.set_generators(reports[0][1])
        return Collected(batch, max((seconds for seconds, _ in reports), key=lambda seconds: sum(seconds.values())))

    def snapshot(self) -> dict[str, Any]:
        """Of each worker's env and generators."""
        if self.remote is not None:
            self.last = {"workers": self.remote.call("episodes")}
        return self.last

    def close(self) -> None:
        """End the workers."""
        if self.remote is not None:
            self.remote.close()
            self.remote = None
