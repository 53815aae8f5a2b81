"""Jobs that the engine ``slurm`` has submitted, or that sbatch has refused."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from jepakit.components.engines.submitted import ENDED, PLACE, STOP, read_json
from jepakit.protocols import Ended, Job

SUBMITTED = "submitted.json"  #: in the job's own folder: its number in the queue
QUEUED = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
LIVE = (
    *QUEUED,
    *("RUNNING", "RESIZING", "SUSPENDED", "STOPPED", "CONFIGURING", "POWER_UP_NODE", "STAGE_OUT", "COMPLETING", "SIGNALING"),
)
GIVEN_BACK = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL")  #: Slurm may put it back into the queue by itself
PLACE_LOST = (*GIVEN_BACK, "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY")
#: How long a job must be seen in a state that may not be its last: a shared disk shows late how it has ended, a requeue comes late.
LAST_AFTER = {"COMPLETED": 60.0, "OUT_OF_MEMORY": 60.0, **dict.fromkeys(GIVEN_BACK, 120.0)}
ASK_SECONDS = 30.0  #: between two questions to Slurm about a job that has not said that it has ended
KILL_SECONDS = 60.0  #: Slurm kills a cancelled job after its KillWait, 30 by default


class Refused:
    """A job that was not submitted."""

    queued = True

    def __init__(self, why: str) -> None:
        self.why = why

    def poll(self) -> Ended:
        """It has ended before it began."""
        return Ended(1, why=self.why)

    def stop(self) -> None:
        """There is nothing to stop."""

    def kill(self) -> None:
        """There is nothing to kill."""


class SlurmJob:
    """A submitted job. It says in files where it runs and how it has ended; if it does not, Slurm is asked."""

    def __init__(self, job: Job, handle: Any) -> None:
        self.job, self.handle = job, handle
        self.ask_at = time.monotonic() + ASK_SECONDS
        self.ended: Ended | None = None
        self.stopping = self.delivered = False  #: whether it is to save and stop, and whether Slurm has passed that on
        self.left: dict[str, Any] | None = None  #: the place that it had when Slurm said that it is queued again
        self.over_since: tuple[str, float] | None = None  #: since when Slurm says that it has ended, though it has not said so itself

    @property
    def queued(self) -> bool:
        """True until it has a place, and again after a place was lost."""
        return not self.ended and read_json(self.job.needs / PLACE) in ({}, self.left)

    def poll(self) -> Ended | None:
        """Read how it has ended; ask Slurm every half a minute, in case it could not say."""
        if self.ended:
            return self.ended
        said = read_json(self.job.needs / ENDED)
        if said:
            self.ended = Ended(int(said["code"]), lost=bool(said["lost"]), host=str(said.get("host", "")))
        elif time.monotonic() >= self.ask_at:
            self._ask()
        if self.ended:
            (self.job.needs / SUBMITTED).unlink(missing_ok=True)
        return self.ended

    def _ask(self) -> None:
        """Ask Slurm for its state, and take it for ended if Slurm has said so for as long as `LAST_AFTER` tells."""
        now = time.monotonic()
        self.ask_at = now + ASK_SECONDS
        place = read_json(self.job.needs / PLACE)  # before Slurm is asked: it may start in between
        state = state_of(self.handle)
        if state != "UNKNOWN":
            self.left = place if state in QUEUED else None
        if self.stopping and state in QUEUED:
            self.kill()
        elif self.stopping and state == "RUNNING" and not self.delivered:
            self.delivered = self._signal(STOP)
        if state in (*LIVE, "UNKNOWN") or (self.job.needs / ENDED).exists():
            self.over_since = None
            return
        if self.over_since is None or self.over_since[0] != state:
            self.over_since = state, now
        if now - self.over_since[1] < LAST_AFTER.get(state, 0.0):
            self.handle.watcher.clear()  # which would not ask again about a job that has ended
            return
        lost = state in PLACE_LOST
        host = str(place.get("host", "")) if lost else ""
        self.ended = Ended(1, lost=lost, why=f"Slurm's job {self.handle.job_id}: {state}{self._printed()}", host=host)

    def _printed(self) -> str:
        """Where to read why it has ended, if it has printed anything."""
        log = Path(getattr(getattr(self.handle, "paths", None), "stdout", ""))
        return f"; see {log}" if log.is_file() and log.stat().st_size else ""

    def stop(self) -> None:
        """Let the run save and not come back; take a queued job from the queue."""
        self.stopping = True
        if self.queued:
            self.kill()
        elif not self.ended:
            self.delivered = self._signal(STOP)
            self.ask_at = self.ask_at if self.delivered else 0.0  # it may be queued again

    def kill(self) -> None:
        """Cancel the job, and wait until it has ended."""
        if self.ended:
            return
        if self._is_here():
            self.handle._process.kill()  # the one that would start it again
            self._signal(signal.SIGKILL)
        else:
            self.handle.cancel(check=False)
            until = time.monotonic() + KILL_SECONDS
            while not self.queued and state_of(self.handle) in LIVE and time.monotonic() < until:
                time.sleep(1.0)
        (self.job.needs / SUBMITTED).unlink(missing_ok=True)
        self.ended = Ended(130)

    def _is_here(self) -> bool:
        """Whether it is a process of submitit's local executor."""
        return getattr(self.handle, "_process", None) is not None

    def _signal(self, number: int) -> bool:
        """Send a signal to its processes; returns False if Slurm says that it has none."""
        if not self._is_here():
            words = ["scancel", f"--signal={signal.Signals(number).name[3:]}", self.handle.job_id]
            sent = subprocess.run(words, check=False, capture_output=True, text=True)
            return not sent.returncode and not sent.stderr
        place = read_json(self.job.needs / PLACE)
        for name in ("pid", "run") if number == signal.SIGKILL else ("pid",):
            if name in place:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(place[name]), number)
        return True


def state_of(handle: Any) -> str:
    """What Slurm says of a job now, such as ``RUNNING``; of a process of this machine, ``FAILED`` once it has ended."""
    if getattr(handle, "_process", None) is not None:
        return "RUNNING" if handle._process.poll() is None else "FAILED"
    try:
        return str(handle.get_info(mode="force").get("State") or "UNKNOWN").split()[0].rstrip("+")
    except Exception:  # sacct does not answer for a moment
        return "UNKNOWN"


def answers(number: str) -> bool:
    """Whether sacct answers for a job, be it that there is none."""
    with contextlib.suppress(OSError):
        return subprocess.run(["sacct", "-n", "-X", "-j", number], check=False, capture_output=True).returncode == 0
    return False
