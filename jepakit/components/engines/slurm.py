"""The engine ``slurm``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from jepakit.components.engines.slurm_job import LIVE, SUBMITTED, Refused, SlurmJob, answers, state_of
from jepakit.components.engines.submitted import ENDED, PLACE, Submitted, read_json
from jepakit.components.engines.worker import write_file
from jepakit.errors import UserError, shown
from jepakit.protocols import Going, Job
from jepakit.registry import register


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
        retries: How often a job is submitted again that Slurm has given up, or whose run was killed (a failed node, out of memory).
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

    def start(self, jobs: Sequence[Job]) -> list[Going]:
        """Submit jobs that want the same as one array. Where sbatch refuses one array, the others go on."""
        started: dict[str, Going] = {}
        for alike in self._alike(jobs):
            for job in alike:
                for name in (PLACE, ENDED, SUBMITTED):
                    (job.needs / name).unlink(missing_ok=True)
            executor, submitted = self._executor(alike), []
            try:
                with executor.batch():
                    submitted = [executor.submit(Submitted(job)) for job in alike]
            except Exception as error:  # submitit's own, or sbatch's
                said = shown("; ".join(str(error).split("\n")).strip("; "), 300)
                started |= {job.name: Refused(f"the engine `slurm` cannot submit jobs: {said}") for job in alike}
                continue
            for job, handle in zip(alike, submitted, strict=True):
                write_file(job.needs / SUBMITTED, json.dumps({"job": handle.job_id, "cluster": self.cluster}).encode())
                started[job.name] = SlurmJob(job, handle)
        return [started[job.name] for job in jobs]

    def find(self, job: Job) -> SlurmJob | None:
        """The job that an earlier sweep has submitted, if Slurm still has it.

        Raises:
            UserError: Slurm does not say. Submitted again, the run might have two jobs.
        """
        number = str(read_json(job.needs / SUBMITTED).get("job", ""))
        if self.cluster != "slurm" or not re.fullmatch(r"\d+(_\d+)?", number) or (job.needs / ENDED).exists():
            return None
        import submitit

        handle: Any = submitit.SlurmJob(folder=self.folder, job_id=number)
        state = state_of(handle)
        if state == "UNKNOWN" and not answers(number):
            known = f"Slurm does not say whether it still has job {number}, which an earlier sweep has submitted"
            raise UserError(f"{known}: give the command again, or remove {job.needs / SUBMITTED} if the job has ended")
        return SlurmJob(job, handle) if state in LIVE else None

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
