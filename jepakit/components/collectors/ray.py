"""The collector kind ``ray``."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from tensordict import TensorDictBase

from jepakit.components.collectors.rounds import Remote, Rounds
from jepakit.components.collectors.workers import WorkerCollector
from jepakit.errors import told
from jepakit.protocols import Acting, Actor, WorkerLost
from jepakit.registry import register


@register("collector", "ray")
class Ray(Rounds):
    """As ``multi_sync``, with workers that are actors on a Ray cluster: TorchRL's ``RayCollector``.

    It joins the cluster of ``address``, or else of the variable ``RAY_ADDRESS``; without both it starts one on this machine, for as long as
    the run lasts. Every machine needs the same packages; plug-in files travel with the recipe.

    Args:
        workers: Actors, each with an encoder of its own; they must divide ``num_envs``.
        address: Of the cluster: ``auto``, or ``ray://head:10001``; empty: as said above.
        cpus: CPUs that each actor reserves.
        gpus: GPUs that each actor reserves.
    """

    requires: ClassVar = {"ray": "pip install 'jepakit[ray]'"}
    on_cluster: ClassVar = True

    def __init__(self, *, workers: PositiveInt = 2, address: str = "", cpus: PositiveFloat = 1.0, gpus: NonNegativeFloat = 0.0) -> None:
        super().__init__(workers)
        self.address, self.cpus, self.gpus = address, cpus, gpus

    def start(self, acting: Acting, make: Sequence[Callable[[], Actor]]) -> Remote:
        """Start actors."""
        address = self.address or os.environ.get("RAY_ADDRESS") or None
        return Actors(acting, make, address, {"num_cpus": self.cpus, "num_gpus": self.gpus})


class Actors:
    """Workers that are actors of Ray.

    Args:
        acting: The run.
        make: Makes the actor, for each worker.
        address: The cluster's; None: a new one on this machine.
        needs: What each reserves.

    Raises:
        WorkerLost: A worker could not start.
    """

    def __init__(self, acting: Acting, make: Sequence[Callable[[], Actor]], address: str | None, needs: dict[str, float]) -> None:
        import ray
        from torchrl.collectors.distributed import RayCollector

        self.workers = len(make)
        self.started_ray = not ray.is_initialized()
        if self.started_ray:
            new: dict[str, Any] = (
                {} if address else {"num_cpus": max(1, round(needs["num_cpus"] * self.workers)), "include_dashboard": False}
            )
            ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **new)
        self.collector: Any = None
        # The policy is made by the actors, and `Rounds` hands out its weights.
        warnings.filterwarnings("ignore", "The policy is not an nn.Module|RayCollector iteration started", module="torchrl")
        try:
            self.collector = RayCollector(
                list(make),
                None,
                frames_per_batch=acting.steps * acting.env.batch_size[0],
                total_frames=2**62,
                collector_class=WorkerCollector,
                sync=True,
                remote_configs=needs,
                num_workers_per_collector=1,
                weight_sync_schemes={},
            )
            self.call("report")  # waits until all are there
        except Exception as error:
            self.close()
            raise self._lost(error) from error
        self.batches = iter(self.collector)

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]] | None = None) -> list[Any]:
        """Call a method of each actor's `WorkerCollector`."""
        try:
            return list(self.collector.map_fn(method, None if arguments is None else list(arguments)))
        except Exception as error:
            raise self._lost(error) from error

    def batch(self) -> TensorDictBase:
        """One rollout of each actor."""
        try:
            return next(self.batches)
        except Exception as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        import ray

        if self.collector is not None:
            self.collector.shutdown()
        if self.started_ray:
            ray.shutdown()

    def _lost(self, error: Exception) -> WorkerLost:
        cause = getattr(error, "cause", None)
        what = told(cause) if isinstance(cause, BaseException) else told(error)
        found = WorkerLost(f"a worker of the collector, an actor of Ray, has failed: {what}")
        found.add_note(str(error))
        return found
