"""What TorchRL runs in a worker's process, and how its failures come home."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from tensordict import TensorDictBase
from torchrl.collectors import Collector as TorchRLCollector

from jepakit.components.collectors.direct import WITHOUT_WEIGHTS
from jepakit.diagnostics.embedding import only_looking
from jepakit.errors import signal_name, told
from jepakit.files.shared import MORE_SHARED, SHARED
from jepakit.files.writing import readable, write_atomically
from jepakit.protocols import Actor, Weights, WorkerLost


class WorkerCollector(TorchRLCollector):
    """TorchRL's ``Collector`` in a worker: it makes its own env and policy.

    Args:
        make: Makes them.
        others: What a TorchRL collector of several processes passes on, among it the policy, which is not used.
    """

    def __init__(self, make: Callable[[], Actor], **others: Any) -> None:
        actor = self._actor = make()
        others |= {"policy": actor.policy, "policy_factory": None, "create_env_kwargs": None}
        others |= {"policy_device": actor.device, "env_device": "cpu", "storing_device": "cpu", "device": None}
        others["auto_register_policy_transforms"] = False
        warnings.filterwarnings("ignore", WITHOUT_WEIGHTS, module="torchrl")
        with only_looking(actor.modules):  # the collector tries the policy out, which must not count in batch statistics
            super().__init__(actor.env, **others)
        self._spent = self._seconds()

    def take(self, weights: Weights, generators: dict[str, Any] | None) -> None:
        """Act with ``weights``, and with these random numbers if given."""
        self._actor.take(weights)
        if generators:
            self._actor.set_generators(generators)

    def report(self) -> tuple[dict[str, float], dict[str, Any]]:
        """The seconds since the last report by part, and the generators' states."""
        before, self._spent = self._spent, self._seconds()
        return {part: now - before[part] for part, now in self._spent.items()}, self._actor.generators()

    def episodes(self) -> dict[str, Any]:
        """The `Actor.snapshot`."""
        return self._actor.snapshot()

    def _seconds(self) -> dict[str, float]:
        env, policy = (getattr(each, "seconds", 0.0) for each in (self._actor.env, self._actor.policy))
        return {"env": env, "policy": policy}


class ProcessWorker(WorkerCollector):
    """A `WorkerCollector` in a process of this machine.

    Args:
        make: Makes env and policy, and knows the worker's `Desk`.
        others: As of `WorkerCollector`.
    """

    def __init__(self, make: MakeAt, **others: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they reach the whole group of processes, and the run decides
            signal.signal(number, signal.SIG_IGN)
        make = getattr(make, "fn", make)  # TorchRL wraps it
        self._desk = make.desk
        try:
            super().__init__(make, **others)
        except Exception as error:
            self._fail(error)

    def rollout(self) -> TensorDictBase:
        """Collect one batch, with the newest weights on the desk."""
        try:
            if weights := self._desk.newest():
                self._actor.take(weights)
            return super().rollout()
        except Exception as error:
            return self._fail(error)

    def _fail(self, error: Exception) -> Any:
        write_atomically(self._desk.failure, "\n".join((told(error), *traceback.format_exception(error))))
        sys.exit(1)


class Desk:
    """Files through which a run and one of its workers tell each other what must not wait: weights, and why the worker has ended.

    A file is replaced as a whole, so neither side can leave the other with half of it, or with a lock that nobody opens.

    Args:
        folder: Of this worker alone; made if missing.
        name: The worker's, for messages.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self.name, self.file, self.failure = name, folder / "weights", folder / "failure"
        self.version = -1  #: of the newest weights that were read here

    def put(self, weights: Weights) -> None:
        """Lay weights on the desk."""
        partial = self.file.with_suffix(".partial")
        partial.write_bytes(np.int64(weights.version).tobytes() + np.float64(weights.progress).tobytes() + weights.content.tobytes())
        partial.replace(self.file)

    def newest(self) -> Weights | None:
        """The weights on the desk, if they are not those that were read last."""
        if not self.file.exists():
            return None
        with self.file.open("rb") as stream:
            version = int(np.frombuffer(stream.read(8), np.int64)[0])
            if version == self.version:
                return None
            self.version = version
            progress = float(np.frombuffer(stream.read(8), np.float64)[0])
            return Weights(version, np.frombuffer(stream.read(), np.uint8), progress)


class MakeAt:
    """Makes a worker's `Actor`, and tells it its desk.

    Args:
        make: Makes the actor.
        desk: The worker's.
    """

    def __init__(self, make: Callable[[], Actor], desk: Desk) -> None:
        self.make, self.desk = make, desk

    def __call__(self, **_: Any) -> Actor:
        """The actor."""
        return self.make()


def lost(desks: Sequence[Desk], processes: Sequence[Any], error: Exception) -> WorkerLost:
    """What to raise when TorchRL's collector has raised ``error``: which worker has ended, and why, as far as that is known."""
    for _ in range(10):  # a process may not be gone yet when its pipe breaks
        for n, desk in enumerate(desks):
            if desk.failure.exists():
                reason, _, details = desk.failure.read_text(encoding="utf-8").partition("\n")
                found = WorkerLost(f"{desk.name} has failed: {reason}")
                found.add_note(details)
                return found
            if code := _exit_code(processes[n]) if n < len(processes) else None:
                how = f"was killed by {signal_name(-code)}{_perhaps(-code)}" if code < 0 else f"has ended with exit code {code}"
                return WorkerLost(f"{desk.name} {how}")
        sleep(0.1)
    died = re.match(r"Worker (\d+) failed to initialize", str(error))  # TorchRL's words for a worker that is gone before it has begun
    if died and int(died[1]) < len(desks):
        name = desks[int(died[1])].name
        return WorkerLost(f"{name} ended as it started, without a word: perhaps the system killed it for want of memory")
    return WorkerLost(f"the collector has failed: {told(error)}")


def _perhaps(number: int) -> str:
    """What a signal that a full shared memory sends most often means."""
    if number != signal.SIGBUS or not SHARED.is_dir():
        return ""
    has = readable(shutil.disk_usage(SHARED).total)
    return f": shared memory is perhaps full; {SHARED} has {has}, and {MORE_SHARED}"


def _exit_code(process: Any) -> int | None:
    try:
        code: int | None = process.exitcode
    except ValueError:  # TorchRL has closed it
        return None
    return code
