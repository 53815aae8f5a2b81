"""What starts the runs of a sweep, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path


class Job(NamedTuple):
    """A run to start: one `jepakit` command, as a process of its own."""

    name: str  #: unique in the sweep; at most 100 letters, digits, ``_``, ``.`` and ``-``
    words: tuple[str, ...]  #: what stands after ``jepakit`` on the command line; paths are absolute
    again: tuple[str, ...]  #: the words that continue the run once its folder holds ``events.jsonl``
    folder: Path  #: the run's folder, absolute; it may not exist yet
    needs: Path  #: a folder of the job's own with everything else that the words name; the engine may put its own files there
    log: Path  #: the file, in ``needs``, for all that the process prints
    cpus: int  #: threads that the run uses
    gpus: int  #: GPUs that the run uses: 0 or 1


class Ended(NamedTuple):
    """How a job has ended. Whether the run has finished, its own folder says."""

    code: int  #: the process's exit code; below 0: minus the signal that killed it
    lost: bool = False  #: True if the place where it ran was lost, not the run: it is worth another try
    why: str = ""  #: what happened, if the exit code and the log do not say it
    host: str = ""  #: a machine from which no process writes the run's folder any more: it is gone, or the process was killed


@runtime_checkable
class Going(Protocol):
    """A job that an `Engine` has taken."""

    @property
    def queued(self) -> bool:
        """True until the job has a place to run, and again if it was put back into a queue."""
        ...

    def poll(self) -> Ended | None:
        """How it has ended; None while it is queued or runs. At the end, the run's folder and the log are complete on this machine."""
        ...

    def stop(self) -> None:
        """Ask the run to save and stop (SIGINT), and take a queued job back. `poll` says when that is done."""
        ...

    def kill(self) -> None:
        """End the job at once and wait until it has ended; does nothing if it has."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Starts jobs and says how they end. It knows nothing of recipes, training or tables: see `Job`.

    The sweep calls all methods from one thread, `begin` first and `end` last. A constructor does nothing that can be seen from outside.
    A process that begins a sweep can be killed at any moment; what becomes of its jobs, the engine's docstring says.
    """

    remote: bool  #: whether jobs may run on other machines: what they read and write then lies in the sweep's folder
    carries: bool  #: whether the engine writes the runs' folders, with what it carries home; the sweep then holds their locks
    retries: int  #: how often a lost job is started again

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Connect to where jobs run.

        Args:
            folder: The folder of the sweep's jobs, for the engine's own files; it may not exist yet.
            note: Shows a line to the user.

        Raises:
            UserError: There is no such place, or it cannot be reached.
        """
        ...

    def at_a_time(self, jobs: Sequence[Job]) -> int | None:
        """How many of these jobs to hand over before one has ended; None: as many as this machine's cores and GPUs suit."""
        ...

    def start(self, jobs: Sequence[Job]) -> Sequence[Going]:
        """Take jobs, in this order, and return at once.

        Raises:
            UserError, OSError: None of them was taken.
        """
        ...

    def find(self, job: Job) -> Going | None:
        """The job as an earlier process has started it, if it is still queued or runs; None if that cannot be."""
        ...

    def end(self) -> None:
        """Disconnect. All jobs have ended, unless they outlive the process by the engine's design."""
        ...


@runtime_checkable
class Scripted(Protocol):
    """An `Engine` that can show what it would submit."""

    def script(self, jobs: Sequence[Job]) -> str:
        """The script that would start these jobs; nothing is submitted."""
        ...
