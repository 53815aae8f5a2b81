"""What the engine ``slurm`` submits: a run that saves when the cluster wants its place back, and goes on when it has another."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

from jepakit.components.engines.processes import start_process
from jepakit.components.engines.worker import write_file
from jepakit.protocols import Job

PLACE, ENDED = "place.json", "ended.json"  #: in the job's own folder: where it runs, and its exit code
STOP = signal.SIGUSR1  #: from the sweep: save, stop, and do not come back
SAVED = 130  #: exit code of a run that was asked to stop, and has saved
PATIENCE = 90.0  #: seconds after a run was asked to stop by another, in which submitit's signal is still to come


class Submitted:
    """A job as submitit pickles it, calls it, and asks it for a checkpoint.

    Slurm sends its signals to all processes of a job. The run is deaf to submitit's (SIGUSR2) and to `STOP`; this process heeds both, and
    asks the run by SIGINT, once.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pid = 0
        self.asked = False

    def __call__(self) -> int:
        """Run the job, or continue it; returns its exit code."""
        signal.signal(STOP, self._stop)
        begun = (self.job.folder / "events.jsonl").exists()
        process = start_process(self.job.again if begun else self.job.words, self.job.log, deaf_to=(signal.SIGUSR1, signal.SIGUSR2))
        self.pid = process.pid
        place = {"host": platform.node(), "pid": os.getpid(), "run": process.pid}
        write_file(self.job.needs / PLACE, json.dumps(place).encode())
        while (code := process.poll()) is None:
            time.sleep(0.2)
        if code == SAVED and not self.asked:
            time.sleep(PATIENCE)  # Slurm's SIGTERM came first, to all; submitit's signal, which requeues the job, or the end follows
        killed = code == -signal.SIGKILL  # out of memory, the kernel kills the run alone
        lost = (killed or code == SAVED) and not self.asked
        ended = {"code": code, "lost": lost, "host": platform.node() if killed else ""}
        write_file(self.job.needs / ENDED, json.dumps(ended).encode())
        return code

    def checkpoint(self) -> Any:
        """Let the run save, and return what submitit puts back into the queue. Called in the handler of submitit's signal."""
        from submitit.helpers import DelayedSubmission

        self._ask()
        while not self._has_ended():
            time.sleep(0.1)
        (self.job.needs / PLACE).unlink(missing_ok=True)
        return DelayedSubmission(Submitted(self.job))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._ask()

    def _ask(self) -> None:
        if self.pid and not self._has_ended():
            os.kill(self.pid, signal.SIGINT)

    def _has_ended(self) -> bool:
        """Whether the run has ended; it stays for `Popen` to collect, which the handler may have interrupted."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        except ChildProcessError:
            return True


def read_json(path: Path) -> dict[str, Any]:
    """The content of a small file of ours; empty if it is not there yet."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
