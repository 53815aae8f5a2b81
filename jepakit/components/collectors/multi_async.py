"""The collector kind ``multi_async``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import torch
from pydantic import PositiveInt
from torchrl.collectors import MultiAsyncCollector

from jepakit.components.collectors.processes import Processes, starting_anew
from jepakit.protocols import Acting, Collected
from jepakit.registry import register


@register("collector", "multi_async")
class MultiAsync:
    """Processes act while the learner learns from the batch before: TorchRL's ``MultiAsyncCollector``, one for each worker.

    A worker takes the newest weights before each batch, and is at most one batch ahead. So a batch comes from weights that are one round of
    updates older than the learner's.

    Args:
        workers: Processes, each with an encoder of its own; they must divide ``num_envs``.
        allow_lag: Whether an on-policy algorithm may learn from such batches.
    """

    lags = True
    restores = False

    def __init__(self, *, workers: PositiveInt = 2, allow_lag: bool = False) -> None:
        self.workers = workers
        self.allow_lag = allow_lag
        self.started: dict[int, Processes] = {}

    def restore(self, acting: Acting, snapshot: dict[str, Any]) -> None:
        """Never called, since a worker cannot be asked for its state while it acts."""
        raise ValueError("it begins new episodes")

    def begin(self, acting: Acting) -> None:
        """Start the processes."""
        self.acting = acting

        def start(n: int) -> None:
            self.started[n] = Processes(MultiAsyncCollector, acting, [acting.actor(n, self.workers)], n, self.workers)

        with starting_anew(), ThreadPoolExecutor(self.workers) as pool:  # each waits for its process, so side by side
            list(pool.map(start, range(self.workers)))

    def collect(self) -> Collected:
        """Hand out weights, and wait until each worker has handed in its part; ``env`` is the time of that wait."""
        begun = perf_counter()
        weights = self.acting.weights()
        for each in self.started.values():
            each.put(weights)
        parts = [each.batch() for _, each in sorted(self.started.items())]
        return Collected(torch.cat(parts), {"env": perf_counter() - begun, "policy": 0.0})

    def snapshot(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """End the processes."""
        for each in self.started.values():
            each.close()
        self.started.clear()
