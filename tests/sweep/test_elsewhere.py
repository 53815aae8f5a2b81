"""The scheduler with engines whose jobs run elsewhere: places are lost, jobs outlive the sweep, folders are locked by other machines."""

from __future__ import annotations

import json
import platform
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jepakit.components.engines.local import Local, LocalJob
from jepakit.protocols import Ended, Job
from jepakit.storage.lock import Lock, forget_lock, is_locked
from jepakit.sweep import scheduler
from jepakit.sweep.outcome import Outcome
from jepakit.sweep.plan import Plan
from jepakit.sweep.scheduler import run_plan

MakePlan = Callable[..., Plan]
Diary = Callable[[], list[str]]


class FarJob(LocalJob):
    """A process that counts as lost when it is killed."""

    def poll(self) -> Ended | None:
        ended = super().poll()
        return ended._replace(lost=True, host="far.example") if ended and ended.code == -9 else ended


class Far(Local):
    """Processes of this machine, as if they were on another."""

    remote = True
    retries = 2

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.there: dict[str, FarJob] = {}

    def start(self, jobs: Sequence[Job]) -> list[LocalJob]:
        self.batches.append(len(jobs))
        return [FarJob(job, None) for job in jobs]

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        return len(jobs)

    def find(self, job: Job) -> FarJob | None:  # type: ignore[override]
        return self.there.get(job.name)


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def test_all_runs_are_handed_over_at_once_and_what_they_read_stays(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    engine, plan = Far(), make_plan("encoder.dim=16,32", seeds=2)
    assert states(run_plan(plan, tmp_path / "out", quiet=True, engine=engine)) == ["finished"] * 4
    assert engine.batches == [4]
    for run in plan.runs:
        needs = tmp_path / "out" / "swept" / "jobs" / run.id
        assert f"seed: {run.seed}\n" in (needs / "recipe.yaml").read_text()
        assert (needs / "printed.txt").exists()
    assert run_plan(plan, tmp_path / "out", quiet=True, engine=engine)[0].fresh is False
    assert engine.batches == [4], "no engine is asked about a finished sweep"


def test_a_lost_run_is_started_again_and_not_for_ever(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary, capsys: pytest.CaptureFixture[str]
) -> None:
    endings |= {"dim=16": "die"}
    (lost,) = run_plan(make_plan(), tmp_path / "out", engine=Far())
    assert [line.split()[0] for line in diary()] == ["start", "resume", "resume"]
    assert (lost.state, lost.error) == ("failed", "killed by SIGKILL (out of memory?)")
    assert capsys.readouterr().err.count("is started again: killed by SIGKILL") == 2


def test_the_lock_of_a_machine_that_is_gone_is_removed(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary) -> None:
    plan = make_plan()
    folder = tmp_path / "out" / "swept" / plan.runs[0].id
    endings |= {"dim=16": "die"}

    class Power(Far):
        def start(self, jobs: Sequence[Job]) -> list[LocalJob]:
            if len(self.batches) == 1:
                assert not (folder / "lock").exists()
                endings.clear()
            started = super().start(jobs)
            started[0].process.wait()  # type: ignore[union-attr]
            if len(self.batches) == 1:
                (folder / "lock").write_text('{"pid": 1, "host": "far.example"}')
            return started

    assert states(run_plan(plan, tmp_path / "out", quiet=True, engine=Power())) == ["finished"]
    assert [line.split()[0] for line in diary() if not line.startswith("end")] == ["start", "resume"]


def test_only_a_dead_lock_of_that_host_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"pid": 1, "host": "far.example"}')
    forget_lock(tmp_path, "another.example")
    assert is_locked(tmp_path)
    forget_lock(tmp_path, "far.example")
    assert not (tmp_path / "lock").exists()
    held = Lock(tmp_path)
    forget_lock(tmp_path, platform.node())
    assert is_locked(tmp_path)
    held.release()


def test_a_sweep_waits_for_a_run_that_another_machine_writes_as_long_as_it_writes(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LOOK_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(scheduler, "STILL_SECONDS", 0.6)
    plan = make_plan("encoder.dim=16,32")
    saving, gone = (tmp_path / "out" / "swept" / run.id for run in plan.runs)
    for folder in (saving, gone):
        folder.mkdir(parents=True)
        (folder / "lock").write_text('{"pid": 1, "host": "far.example"}')
    threading.Timer(0.4, (saving / "events.jsonl").touch).start()
    threading.Timer(0.8, shutil.rmtree, [saving]).start()
    assert states(run_plan(plan, tmp_path / "out", quiet=True, engine=Far())) == ["finished", "elsewhere"]


def test_a_job_that_outlived_its_sweep_is_watched_and_not_started_again(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary
) -> None:
    plan, engine = make_plan(), Far()
    job = scheduler.job_of(plan.runs[0], tmp_path / "out" / "swept" / plan.runs[0].id, tmp_path / "out" / "swept" / "jobs")
    scheduler.write_job(plan.runs[0], tmp_path / "out" / "swept" / "jobs")
    engine.there[job.name] = FarJob(job, None)
    (outcome,) = run_plan(plan, tmp_path / "out", quiet=True, engine=engine)
    assert (outcome.state, outcome.fresh, engine.batches) == ("finished", True, [])
    assert len(diary()) == 2


def test_a_folder_that_an_engine_writes_is_locked_meanwhile(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    plan = make_plan()
    folder = tmp_path / "out" / "swept" / plan.runs[0].id

    class Carrier(Far):
        carries = True

        def start(self, jobs: Sequence[Job]) -> list[LocalJob]:
            self.locked = is_locked(folder)
            return super().start(jobs)

    engine = Carrier()
    assert states(run_plan(plan, tmp_path / "out", quiet=True, engine=engine)) == ["finished"]
    assert engine.locked
    assert not (folder / "lock").exists()


def test_a_start_that_fails_fails_the_runs_and_says_why(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    class Full(Far):
        def start(self, jobs: Sequence[Job]) -> list[LocalJob]:
            raise OSError("the queue is full")

    outcomes = run_plan(make_plan("encoder.dim=16,32"), tmp_path / "out", quiet=True, engine=Full())
    assert [(outcome.state, outcome.error) for outcome in outcomes] == [("failed", "the queue is full")] * 2


def test_a_job_is_written_anew_only_if_it_differs(tmp_path: Path, make_plan: MakePlan) -> None:
    run = make_plan().runs[0]
    scheduler.write_job(run, tmp_path)
    file = tmp_path / run.id / "recipe.yaml"
    before = file.stat().st_ino
    scheduler.write_job(run, tmp_path)
    assert file.stat().st_ino == before
    file.write_text("an older one")
    scheduler.write_job(run, tmp_path)
    assert "name: swept" in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["recipe.yaml"]


def test_shards_are_disjoint_and_complete(make_plan: MakePlan) -> None:
    plan = make_plan("encoder.dim=16,32,48", seeds=3)
    shards = [plan.shard(number, 4) for number in (1, 2, 3, 4)]
    assert sorted(run.id for shard in shards for run in shard.runs) == sorted(run.id for run in plan.runs)
    assert [len(shard.runs) for shard in shards] == [3, 2, 2, 2]
    assert json.dumps([run.id for run in plan.shard(1, 1).runs]) == json.dumps([run.id for run in plan.runs])
