"""The engine ``local``."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from jepakit.components.engines import processes
from jepakit.protocols import Ended, Job
from jepakit.registry import register


@register("engine", "local")
class Local:
    """Processes on this machine, several at a time; with several GPUs, one run on each.

    A run that wants a GPU sees one alone, by ``CUDA_VISIBLE_DEVICES``. When the sweep's own process is killed, on Linux its runs save and
    end; elsewhere they continue, and a second sweep waits for them.
    """

    remote = False
    carries = False
    retries = 0

    def __init__(self) -> None:
        self.gpus: list[str] = []
        self.going: list[LocalJob] = []

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Nothing to connect to."""

    def at_a_time(self, jobs: Sequence[Job]) -> int | None:
        """As many as this machine suits."""
        return None

    def start(self, jobs: Sequence[Job]) -> list[LocalJob]:
        """Start a process each. One that cannot be started has ended."""
        started: list[LocalJob] = []
        for job in jobs:  # one after the other, as the choice of a GPU depends on those before
            self.going = [going for going in self.going if not going.poll()]
            started.append(LocalJob(job, self._gpu(job)))
            self.going.append(started[-1])
        return started

    def find(self, job: Job) -> None:
        """A process of an earlier sweep is none of this one's: its lock says that it runs."""

    def end(self) -> None:
        """Nothing is left."""

    def _gpu(self, job: Job) -> str | None:
        """The GPU with the fewest runs on it; None if the run wants none, or there is only one."""
        if not job.gpus:
            return None
        self.gpus = self.gpus or processes.visible_gpus()
        busy = Counter(going.gpu for going in self.going)
        return min(self.gpus, key=lambda gpu: busy[gpu]) if len(self.gpus) > 1 else None


class LocalJob:
    """A child process."""

    queued = False

    def __init__(self, job: Job, gpu: str | None) -> None:
        self.gpu = gpu
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.process = processes.start_process(job.words, job.log, {"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else None)
        except OSError as error:
            self.why = str(error)

    def poll(self) -> Ended | None:
        """The exit code, once there is one."""
        if not self.process:
            return Ended(1, why=self.why)
        code = self.process.poll()
        return None if code is None else Ended(code)

    def stop(self) -> None:
        """Let it finish its batch and save."""
        if self.process:
            self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill it."""
        if self.process:
            self.process.kill()
            self.process.wait()
