"""An engine of your own: starts the runs of a sweep where you want them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jepakit import register
from jepakit.protocols import Ended, Job


@register("engine", "my_component")
class MyComponent:
    """Processes on this machine with a lower priority.

    Args:
        niceness: By how much: 19 yields to everything else.
    """

    remote = False  # True: jobs run on other machines, and their recipes and logs are written beside the runs
    carries = False  # True: the engine copies runs home itself
    retries = 0  # how often a job that says `lost` is started again

    def __init__(self, *, niceness: int = 10) -> None:
        self.niceness = niceness

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Connect to where jobs run; ``folder`` is for files of the engine's own."""

    def at_a_time(self, jobs: Sequence[Job]) -> int | None:
        """None: as many as this machine has cores for."""
        return None

    def start(self, jobs: Sequence[Job]) -> list[MyJob]:
        """Start `jepakit` with each job's words, and return at once."""
        return [MyJob(job, ["nice", "-n", str(self.niceness), sys.executable, "-m", "jepakit", *job.words]) for job in jobs]

    def find(self, job: Job) -> None:
        """The job of an earlier process that still runs; here the lock in the run's folder says so."""

    def end(self) -> None:
        """Disconnect."""


class MyJob:
    """A job that was started."""

    queued = False

    def __init__(self, job: Job, command: list[str]) -> None:
        with job.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def poll(self) -> Ended | None:
        """How it has ended; None while it runs."""
        code = self.process.poll()
        return None if code is None else Ended(code)

    def stop(self) -> None:
        """Ask the run to save and stop."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
