"""Workers that are processes of this machine, run by TorchRL."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import multiprocessing
from torchrl.collectors import MultiCollector

from jepakit.components.collectors.workers import Desk, MakeAt, ProcessWorker, lost
from jepakit.protocols import Acting, Actor, Weights

FILES = 8192  #: that a run and each of its workers may have open, if the system lets them; they need some ten for each worker


class Processes:
    """Workers in new processes, to be made within `starting_anew`.

    Args:
        collector: TorchRL's collector of several processes.
        acting: The run.
        make: Makes the actor, for each worker.
        first: The number of the first one.
        workers: How many the run has; None: these.

    Raises:
        WorkerLost: A worker could not start.
    """

    def __init__(
        self,
        collector: type[MultiCollector],
        acting: Acting,
        make: Sequence[Callable[[], Actor]],
        first: int = 0,
        workers: int | None = None,
    ) -> None:
        workers = workers or len(make)
        self.folder = tempfile.TemporaryDirectory(prefix="jepakit-")
        names = [f"worker {n} of {workers} of the collector" for n in range(first, first + len(make))]
        self.desks = [Desk(Path(self.folder.name) / str(n), name) for n, name in enumerate(names)]
        self.collector: MultiCollector | None = None
        self.threads = torch.get_num_threads()
        with self._watched():
            self.collector = collector(
                [MakeAt(each, desk) for each, desk in zip(make, self.desks, strict=True)],
                None,
                frames_per_batch=acting.steps * acting.env.batch_size[0] // workers * len(make),
                total_frames=-1,
                device="cpu",
                collector_class=ProcessWorker,
                cat_results="stack",
                num_threads=self.threads,
                auto_register_policy_transforms=False,
            )
            self.batches = iter(self.collector)

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]] | None = None) -> list[Any]:
        """Call a method of each worker. Not while they act: TorchRL would throw away what they collect."""
        with self._watched() as collector:
            return list(collector.map_fn(method, None if arguments is None else list(arguments)))

    def batch(self) -> TensorDictBase:
        """What TorchRL's collector yields next."""
        with self._watched():
            return next(self.batches)

    def put(self, weights: Weights) -> None:
        """Lay weights on each worker's desk, from where it takes them before its next batch."""
        for desk in self.desks:
            desk.put(weights)

    def close(self) -> None:
        """End the processes, which are killed after a while."""
        if self.collector is not None:
            self.collector.shutdown(timeout=10, raise_on_error=False)
            torch.set_num_threads(self.threads)  # TorchRL sets another number
        self.folder.cleanup()

    @contextmanager
    def _watched(self) -> Iterator[Any]:
        """Turn what TorchRL raises into a `WorkerLost`."""
        try:
            yield self.collector
        except Exception as error:
            raise lost(self.desks, getattr(self.collector, "procs", ()), error) from error


@contextmanager
def starting_anew() -> Iterator[None]:
    """Have multiprocessing start processes anew and not as forks, which OpenGL and threads do not survive.

    Where a process may open too few files for the tensors it shares, it hangs; macOS allows 256.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if 0 <= soft < wanted:  # below 0: no limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        yield
    finally:
        multiprocessing.set_start_method(before, force=True)
