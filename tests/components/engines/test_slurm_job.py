"""What Slurm says of a job that cannot speak for itself: a scripted Slurm, which no machine here has."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jepakit.components.engines import slurm, slurm_job, submitted
from jepakit.components.engines.slurm import Slurm
from jepakit.components.engines.slurm_job import Refused, SlurmJob
from jepakit.components.engines.submitted import ENDED, PLACE
from jepakit.errors import UserError
from jepakit.protocols import Job

submitit = pytest.importorskip("submitit")


class Told:
    """A handle as submitit's, of which Slurm says one state after the other, the last for ever."""

    job_id = "100"

    def __init__(self, states: Sequence[str], log: Path) -> None:
        self.states = [*states]
        self.paths = SimpleNamespace(stdout=log)
        self.watcher = SimpleNamespace(clear=lambda: None)
        self.cancelled = False

    def get_info(self, mode: str) -> dict[str, str]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "no answer":
            raise OSError
        return {"State": "CANCELLED by 1000" if self.cancelled else state}

    def cancel(self, check: bool) -> None:
        self.cancelled = True


@pytest.fixture
def job(tmp_path: Path) -> Job:
    needs = tmp_path / "jobs" / "a"
    needs.mkdir(parents=True)
    (needs / PLACE).write_text(json.dumps({"host": "far.example", "pid": 7, "run": 8}))
    return Job("a", ("run", "a"), ("resume", "a"), tmp_path / "runs" / "a", needs, needs / "printed.txt", cpus=1, gpus=0)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock."""
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: None)
    now = [0.0]
    monkeypatch.setattr(slurm_job, "time", clock)

    def move(seconds: float) -> None:
        now[0] = seconds

    return move


def looks(going: SlurmJob, at: Callable[[float], None], count: int = 12) -> list[Any]:
    """What it says every half a minute."""
    said = []
    for number in range(1, count + 1):
        at(slurm_job.ASK_SECONDS * number + number)
        said.append(going.poll())
        if said[-1]:
            break
    return said


@pytest.mark.parametrize(
    ("states", "at_look", "lost"),
    [
        (["RUNNING", "FAILED"], 2, False),
        (["OUT_OF_MEMORY"], 3, True),
        (["COMPLETED"], 3, False),
        (["NODE_FAIL"], 5, True),
        (["PREEMPTED", "PREEMPTED", "PENDING", "RUNNING", "PREEMPTED"], 9, True),
        (["no answer", "no answer", "STOPPED", "FAILED"], 4, False),
    ],
)
def test_a_state_that_may_not_be_the_last_is_looked_at_again(
    job: Job, at: Callable[[float], None], tmp_path: Path, states: list[str], at_look: int, lost: bool
) -> None:
    (tmp_path / "printed").write_text("module not found")
    *before, ended = looks(SlurmJob(job, Told(states, tmp_path / "printed")), at)
    assert (len(before) + 1, ended.lost) == (at_look, lost)
    assert ended.why == f"Slurm's job 100: {states[-1]}; see {tmp_path / 'printed'}"
    assert ended.host == ("far.example" if lost else "")


def test_a_job_that_has_started_while_slurm_was_behind_is_not_queued(job: Job, at: Callable[[float], None], tmp_path: Path) -> None:
    going = SlurmJob(job, Told(["PENDING", "RUNNING"], tmp_path / "none"))
    looks(going, at, 1)
    looks(going, at, 2)
    assert not going.queued


def test_a_stop_is_sent_until_slurm_has_passed_it_on(
    job: Job, at: Callable[[float], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [False, False, True]
    monkeypatch.setattr(SlurmJob, "_signal", lambda self, number: answers.pop(0))
    going = SlurmJob(job, Told(["RUNNING"], tmp_path / "none"))
    going.stop()
    looks(going, at, 4)
    assert not answers
    assert going.delivered


def test_how_a_run_has_ended_may_be_seen_late(job: Job, at: Callable[[float], None], tmp_path: Path) -> None:
    going = SlurmJob(job, Told(["COMPLETED"], tmp_path / "none"))
    assert looks(going, at, 1) == [None]
    (job.needs / ENDED).write_text('{"code": 0, "lost": false, "host": ""}')
    (ended,) = looks(going, at, 1)
    assert (ended.code, ended.lost, ended.why) == (0, False, "")


def test_a_job_that_slurm_has_put_back_into_the_queue_is_queued_until_it_has_another_place(
    job: Job, at: Callable[[float], None], tmp_path: Path
) -> None:
    going = SlurmJob(job, Told(["NODE_FAIL", "PENDING"], tmp_path / "none"))
    assert not going.queued
    looks(going, at, 2)
    assert going.queued
    (job.needs / PLACE).write_text(json.dumps({"host": "other.example", "pid": 7, "run": 8}))
    assert not going.queued


@pytest.mark.parametrize("is_known", [True, False])
def test_ctrl_c_takes_a_job_that_was_put_back_from_the_queue(
    job: Job, at: Callable[[float], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    scancel = tmp_path / "bin" / "scancel"
    scancel.parent.mkdir()
    scancel.write_text("#!/bin/sh\necho 'scancel: error: Kill job error: Job is pending execution' >&2\n")
    scancel.chmod(0o755)
    monkeypatch.setenv("PATH", str(scancel.parent), prepend=":")
    handle = Told(["PENDING"], tmp_path / "none")
    going = SlurmJob(job, handle)
    if is_known:
        looks(going, at, 1)
    going.stop()
    ended = going.poll()
    assert handle.cancelled
    assert ended
    assert ended.code == 130


def test_where_sbatch_refuses_one_array_the_others_go_on(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Executor:
        def __init__(self, jobs: Sequence[Job]) -> None:
            self.refuses = jobs[0].cpus > 1

        def batch(self) -> Any:
            return __import__("contextlib").nullcontext()

        def submit(self, submitted: Any) -> Any:
            if self.refuses:
                raise RuntimeError("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Job violates a limit\n")
            return Told(["PENDING"], tmp_path / "none")

    monkeypatch.setattr(Slurm, "_executor", lambda self, jobs: Executor(jobs))
    other = job._replace(name="b", needs=tmp_path / "jobs" / "b", cpus=2)
    other.needs.mkdir()
    refused, going = Slurm().start([other, job])
    assert isinstance(going, SlurmJob)
    assert isinstance(refused, Refused)
    assert refused.poll().why == (
        "the engine `slurm` cannot submit jobs: sbatch: error: AssocMaxSubmitJobLimit; sbatch: error: Job violates a limit"
    )


@pytest.mark.parametrize("answers", [True, False])
def test_a_job_of_an_earlier_sweep_is_not_submitted_again_where_slurm_does_not_answer(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    (job.needs / slurm_job.SUBMITTED).write_text('{"job": "100"}')
    monkeypatch.setattr(slurm, "state_of", lambda handle: "UNKNOWN")
    monkeypatch.setattr(slurm, "answers", lambda number: answers)
    engine = Slurm()
    engine.folder = tmp_path / "jobs" / "slurm"
    if answers:
        assert engine.find(job) is None
    else:
        with pytest.raises(UserError, match="does not say whether it still has job 100"):
            engine.find(job)


def test_a_run_that_is_killed_alone_is_worth_another_try(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel kills it that is out of memory; the process that watches it lives."""
    dead = SimpleNamespace(pid=os.getpid(), poll=lambda: -9)
    monkeypatch.setattr(submitted, "start_process", lambda *given, **more: dead)
    monkeypatch.setattr("signal.signal", lambda *given: None)
    assert submitted.Submitted(job)() == -9
    going = SlurmJob(job, Told(["COMPLETED"], job.log))
    ended = going.poll()
    assert ended
    assert (ended.code, ended.lost, ended.host) == (-9, True, platform.node())
