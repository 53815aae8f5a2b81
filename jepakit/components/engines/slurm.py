"""The engine ``slurm``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from jepakit.components.engines.submitted import ENDED, PLACE, STOP, Submitted, read_json
from jepakit.components.engines.worker import write_file
from jepakit.errors import UserError, told
from jepakit.protocols import Ended, Job
from jepakit.registry import register

SUBMITTED = "submitted.json"  #: in the job's own folder: its number in the queue
LIVE = ("PENDING", "RUNNING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SUSPENDED", "CONFIGURING", "COMPLETING", "SIGNALING")
PLACE_LOST = ("NODE_FAIL", "PREEMPTED", "TIMEOUT", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY")
ASK_SECONDS = 30.0  #: between two questions to Slurm about a job that has not said that it has ended
KILL_SECONDS = 60.0  #: Slurm kills a cancelled job after its KillWait, 30 by default


@register("engine", "slurm")
class Slurm:
    """Slurm, through submitit: runs wait in Slurm's queue as one array, and a job that is preempted or out of time goes on where it was.

    ``grace_seconds`` before the end Slurm sends a signal; the run saves, the job goes back into the queue, and resumes exactly. So it does
    after a node has failed. Jobs outlive the sweep's process when that is killed; the same command finds them and goes on watching. Ctrl-C
    asks running runs to save, and takes the others from the queue. ``ablate --print-commands`` shows the script that would be submitted.

    Args:
        cluster: ``local`` starts submitit's own processes on this machine, to try this engine without Slurm.
        partition: Slurm's partition; null: its default.
        account: Slurm's account; null: the user's own.
        time_minutes: Time limit of a job until it must go back into the queue.
        cpus: CPUs for a run; null: as many as its threads.
        gpus: GPUs for a run; null: one if its recipe says ``device: cuda``.
        memory_gb: Memory for a run; null: the partition's default.
        at_a_time: Jobs of the array at a time.
        grace_seconds: Between Slurm's signal and the end of the time limit: enough for a batch and a checkpoint.
        requeues: How often a job may run out of time.
        retries: How often a job is submitted again that Slurm has given up (a failed node, out of memory).
        setup: Shell commands before a run, such as ``module load cuda``.
        options: More options of sbatch, by name: ``{qos: long, constraint: a100}``.
    """

    requires: ClassVar[dict[str, str]] = {"submitit": "pip install 'jepakit[slurm]'"}
    remote = True
    carries = False

    def __init__(
        self,
        *,
        cluster: Literal["slurm", "local"] = "slurm",
        partition: str | None = None,
        account: str | None = None,
        time_minutes: PositiveInt = 240,
        cpus: PositiveInt | None = None,
        gpus: NonNegativeInt | None = None,
        memory_gb: PositiveFloat | None = None,
        at_a_time: PositiveInt = 256,
        grace_seconds: PositiveInt = 120,
        requeues: NonNegativeInt = 100,
        retries: NonNegativeInt = 3,
        setup: list[str] = [],  # noqa: B006 - never changed
        options: dict[str, str | int | bool] = {},  # noqa: B006
    ) -> None:
        if grace_seconds >= 60 * time_minutes:
            raise ValueError(f"grace_seconds {grace_seconds} leaves no time to train in {time_minutes} minutes")
        self.cluster, self.partition, self.account, self.time_minutes = cluster, partition, account, time_minutes
        self.cpus, self.gpus, self.memory_gb, self.parallel = cpus, gpus, memory_gb, at_a_time
        self.grace_seconds, self.requeues, self.retries = grace_seconds, requeues, retries
        self.setup, self.options = setup, options

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Make sure that Slurm is here."""
        self.folder = folder / "slurm"
        try:
            self._executor()
        except RuntimeError as error:
            without = "to try it without: {kind: slurm, cluster: local}"
            raise UserError(f"the engine `slurm`: there is no Slurm here ({error}); {without}") from error

    def at_a_time(self, jobs: Sequence[Job]) -> int | None:
        """All of them: Slurm has a queue. submitit's own processes have none."""
        return None if self.cluster == "local" else max(1, len(jobs))

    def start(self, jobs: Sequence[Job]) -> list[SlurmJob]:
        """Submit jobs that want the same as one array."""
        started: dict[str, SlurmJob] = {}
        for alike in self._alike(jobs):
            for job in alike:
                for name in (PLACE, ENDED, SUBMITTED):
                    (job.needs / name).unlink(missing_ok=True)
            executor, submitted = self._executor(alike), []
            try:
                with executor.batch():
                    submitted = [executor.submit(Submitted(job)) for job in alike]
            except Exception as error:  # submitit's own, or sbatch's
                raise UserError(f"the engine `slurm` cannot submit {len(alike)} jobs: {told(error)}") from error
            for job, handle in zip(alike, submitted, strict=True):
                write_file(job.needs / SUBMITTED, json.dumps({"job": handle.job_id, "cluster": self.cluster}).encode())
                started[job.name] = SlurmJob(job, handle)
        return [started[job.name] for job in jobs]

    def find(self, job: Job) -> SlurmJob | None:
        """The job that an earlier sweep has submitted, if Slurm still has it."""
        number = str(read_json(job.needs / SUBMITTED).get("job", ""))
        if self.cluster != "slurm" or not re.fullmatch(r"\d+(_\d+)?", number) or (job.needs / ENDED).exists():
            return None
        import submitit

        handle: Any = submitit.SlurmJob(folder=self.folder, job_id=number)
        return SlurmJob(job, handle) if _state(handle) in LIVE else None

    def end(self) -> None:
        """Nothing to disconnect from."""

    def script(self, jobs: Sequence[Job]) -> str:
        """What sbatch is given, for each array."""
        self.folder = jobs[0].needs.parent / "slurm"
        scripts = []
        for alike in self._alike(jobs):
            executor = self._executor(alike, anywhere=True)
            if len(alike) > 1:
                executor.parameters["map_count"] = len(alike)
            names = "".join(f"# {number}: jepakit {shlex.join(job.words)}\n" for number, job in enumerate(alike))
            scripts.append(executor._make_submission_file_text(executor._submitit_command_str, "") + names)
        return "\n".join(scripts)

    def _alike(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        def wanted(job: Job) -> tuple[int, int]:
            return job.cpus, job.gpus

        for _, alike in groupby(sorted(jobs, key=wanted), wanted):
            yield list(alike)

    def _executor(self, jobs: Sequence[Job] = (), anywhere: bool = False) -> Any:
        """Submitit's executor for jobs that want the same.

        Args:
            jobs: The jobs.
            anywhere: Whether to make Slurm's also where there is no Slurm, to look at its script.
        """
        import submitit

        cpus = self.cpus or max((job.cpus for job in jobs), default=1)
        gpus = max((job.gpus for job in jobs), default=0) if self.gpus is None else self.gpus
        if self.cluster == "local" and not anywhere:
            executor: Any = submitit.LocalExecutor(self.folder, max_num_timeout=self.requeues)
            executor.update_parameters(timeout_min=self.time_minutes, gpus_per_node=gpus, signal_delay_s=self.grace_seconds)
            return executor

        class Anywhere(submitit.SlurmExecutor):
            @classmethod
            def affinity(cls) -> int:
                return 1

        executor = (Anywhere if anywhere else submitit.SlurmExecutor)(self.folder, max_num_timeout=self.requeues)
        wanted = {"job_name": f"jepakit-{self.folder.parent.parent.name}", "time": self.time_minutes, "cpus_per_task": cpus}
        wanted |= {"signal_delay_s": self.grace_seconds, "array_parallelism": self.parallel, "stderr_to_stdout": True}
        given = {"partition": self.partition, "account": self.account, "setup": self.setup, "gpus_per_node": gpus}
        given |= {"mem": f"{round(self.memory_gb * 1024)}MB" if self.memory_gb else None}
        more = {"requeue": True, **self.options}  # a failed node's job goes back into the queue
        executor.update_parameters(**wanted, **{name: value for name, value in given.items() if value}, additional_parameters=more)
        return executor


class SlurmJob:
    """A submitted job. It says in files where it runs and how it has ended; if it does not, Slurm is asked."""

    def __init__(self, job: Job, handle: Any) -> None:
        self.job, self.handle = job, handle
        self.ask_at = time.monotonic() + ASK_SECONDS
        self.ended: Ended | None = None

    @property
    def queued(self) -> bool:
        """True until it has a place, and again after a place was lost."""
        return not self.ended and not (self.job.needs / PLACE).exists()

    def poll(self) -> Ended | None:
        """Read how it has ended; ask Slurm every half a minute, in case it could not say."""
        if self.ended:
            return self.ended
        said = read_json(self.job.needs / ENDED)
        if said:
            self.ended = Ended(int(said["code"]), lost=bool(said["lost"]))
        elif time.monotonic() >= self.ask_at:
            self.ask_at = time.monotonic() + ASK_SECONDS
            state = _state(self.handle)
            if state not in (*LIVE, "UNKNOWN") and not (self.job.needs / ENDED).exists():
                host = str(read_json(self.job.needs / PLACE).get("host", "")) if state == "NODE_FAIL" else ""
                self.ended = Ended(1, lost=state in PLACE_LOST, why=f"Slurm's job {self.handle.job_id}: {state}", host=host)
        if self.ended:
            (self.job.needs / SUBMITTED).unlink(missing_ok=True)
        return self.ended

    def stop(self) -> None:
        """Let the run save and not come back; take a queued job from the queue."""
        if self.queued:
            self.kill()
        elif not self.ended:
            self._signal(STOP)

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
            while not self.queued and _state(self.handle) in LIVE and time.monotonic() < until:
                time.sleep(1.0)
        (self.job.needs / SUBMITTED).unlink(missing_ok=True)
        self.ended = Ended(130)

    def _is_here(self) -> bool:
        """Whether it is a process of submitit's local executor."""
        return getattr(self.handle, "_process", None) is not None

    def _signal(self, number: int) -> None:
        if not self._is_here():
            subprocess.run(["scancel", f"--signal={signal.Signals(number).name[3:]}", self.handle.job_id], check=False)
            return
        place = read_json(self.job.needs / PLACE)
        for name in ("pid", "run") if number == signal.SIGKILL else ("pid",):
            if name in place:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(place[name]), number)


def _state(handle: Any) -> str:
    """What Slurm says of a job now, such as ``RUNNING``; of a process of this machine, ``FAILED`` once it has ended."""
    if getattr(handle, "_process", None) is not None:
        return "RUNNING" if handle._process.poll() is None else "FAILED"
    try:
        return str(handle.get_info(mode="force").get("State") or "UNKNOWN").split()[0].rstrip("+")
    except Exception:  # sacct does not answer for a moment
        return "UNKNOWN"
