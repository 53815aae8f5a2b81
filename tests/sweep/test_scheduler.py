"""A sweep runs up to `jobs` runs at a time, repeats none, and stops all at Ctrl-C. A failed run stops no other."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest

from jepakit.errors import UserError
from jepakit.recipe import dump
from jepakit.storage.lock import Lock
from jepakit.sweep import plan as plan_module
from jepakit.sweep.ablate import ablate
from jepakit.sweep.found import find_run
from jepakit.sweep.outcome import Outcome
from jepakit.sweep.plan import Plan
from jepakit.sweep.scheduler import run_plan
from jepakit.sweep.table import Clock
from jepakit.sweep.watched import Watched

MakePlan = Callable[..., Plan]
Diary = Callable[[], list[str]]


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def signal_when(ready: Callable[[], bool], *signals: int) -> None:
    """Send signals to this process, with pauses, once the sweep handles them and ``ready`` is true."""
    usual = signal.getsignal(signal.SIGINT)

    def send() -> None:
        until = time.monotonic() + 20
        while (signal.getsignal(signal.SIGINT) is usual or not ready()) and time.monotonic() < until:
            time.sleep(0.02)
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(0.3)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_jobs_is_the_number_of_parallel_runs(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary, jobs: int) -> None:
    outcomes = run_plan(make_plan("encoder.dim=16,32,48,64"), tmp_path / "out", jobs, quiet=True)
    assert states(outcomes) == ["finished"] * 4
    assert max(at_a_time(diary())) == jobs


def at_a_time(diary: list[str]) -> list[int]:
    """How many runs were going after each line."""
    return list(accumulate(1 if line.startswith("start") else -1 for line in diary))


@pytest.mark.parametrize(("cores", "runs", "most"), [(1, 3, 1), (2, 3, 3), (2, 5, 3), (4, 4, 4), (4, 6, 6)])
def test_the_last_runs_share_the_cores(
    tmp_path: Path,
    make_plan: MakePlan,
    endings: dict[str, str],
    diary: Diary,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    runs: int,
    most: int,
) -> None:
    monkeypatch.setattr(plan_module, "usable_cores", lambda: cores)
    outcomes = run_plan(make_plan(seeds=runs, threads=1), tmp_path / "out", quiet=True)
    assert states(outcomes) == ["finished"] * runs
    going = at_a_time(diary())
    assert max(going) == most
    if runs > most:  # until no more than these are left, each has a core of its own
        assert max(going[:3]) <= cores


def test_runs_of_several_threads_do_not_share_the_cores(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "usable_cores", lambda: 4)
    assert make_plan(threads=1).jobs_at_the_end() == 6
    assert (make_plan(threads=2).jobs(), make_plan(threads=2).jobs_at_the_end()) == (2, 2)


def test_all_configurations_run_their_first_seed_before_any_second_seed(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary
) -> None:
    plan = make_plan("encoder.dim=16,32", seeds=2)
    run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert [line.split()[1] for line in diary() if line.startswith("start")] == [plan.runs[index].id for index in (0, 2, 1, 3)]


def test_runs_have_the_folders_that_run_uses_and_are_not_repeated(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary
) -> None:
    out = tmp_path / "out"
    (first,) = run_plan(make_plan(), out, 2, quiet=True)
    assert first.path == out / "swept" / first.planned.id
    assert (first.fresh, first.summary["return_last_100"]) == (True, 20.0)
    before = (first.path / "summary.json").stat()
    again, new = run_plan(make_plan("encoder.dim=16,32"), out, 2, quiet=True)
    after = (first.path / "summary.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (again.state, again.fresh, new.state, new.fresh) == ("finished", False, "finished", True)
    assert again.summary == first.summary
    assert len(diary()) == 4


def test_a_failed_run_stops_no_other_reports_why_and_is_retried(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan("encoder.dim=16,32,48,64")
    endings |= {"dim=16": "fail", "dim=32": "die", "dim=48": "refuse"}
    failed, killed, refused, finished = run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert (failed.state, failed.error, failed.log) == ("failed", "ValueError: far too wide", failed.path / "traceback.txt")
    assert (killed.state, killed.error) == ("failed", "killed by SIGKILL (out of memory?)")
    assert (refused.state, refused.error) == ("failed", "your mistake\n    write something else")
    assert refused.log is not None
    assert refused.log.read_text() == "your mistake\n    write something else\n"
    assert finished.state == "finished"
    assert "`encoder.dim=16` seed 0 failed: ValueError: far too wide" in capsys.readouterr().err
    endings.clear()
    assert states(run_plan(plan, tmp_path / "out", 1, quiet=True)) == ["finished"] * 4


def test_ctrl_c_lets_running_runs_save_and_starts_no_new_one(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary
) -> None:
    plan, out = make_plan("encoder.dim=16,32,48,64"), tmp_path / "out"
    endings |= {"dim=32": "wait", "dim=48": "slow"}
    signal_when(lambda: len(list(out.glob("swept/*/metrics.jsonl"))) == 3, signal.SIGINT)
    outcomes = run_plan(plan, out, 2, quiet=True)
    assert states(outcomes) == ["finished", "interrupted", "interrupted", "waiting"]
    assert json.loads((outcomes[1].path / "summary.json").read_text())["status"] == "interrupted"
    finished = (outcomes[0].path / "summary.json").stat().st_mtime_ns

    endings.clear()
    before = len(diary())
    outcomes = run_plan(plan, out, 1, quiet=True)
    assert states(outcomes) == ["finished"] * 4
    assert [outcome.fresh for outcome in outcomes] == [False, True, True, True]
    assert (outcomes[0].path / "summary.json").stat().st_mtime_ns == finished
    how = [line.split()[0] for line in diary()[before:] if not line.startswith("end")]
    assert how == ["resume", "resume", "start"], "what is half done goes on"
    assert len((outcomes[1].path / "metrics.jsonl").read_text().splitlines()) == 2


def test_ablate_raises_keyboard_interrupt_after_the_runs_have_saved(
    tmp_path: Path, recipe: Path, endings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    endings |= {"dim=16": "wait"}
    signal_when(lambda: bool(list(out.glob("swept/*/metrics.jsonl"))), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="2 of 2 runs have not finished"):
        ablate(recipe, {"encoder.dim": [16, 32]}, jobs=1, out=out, quiet=True)
    (summary,) = out.glob("swept/*/summary.json")
    assert json.loads(summary.read_text())["status"] == "interrupted"
    endings.clear()
    outcomes = ablate(recipe, {"encoder.dim": [16, 32]}, jobs=1, out=out, quiet=True)
    assert repr(outcomes[0]) == f"<'encoder.dim=16' seed 0: finished, return 20, {summary.parent}>"


def test_a_second_ctrl_c_kills_the_runs(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    out = tmp_path / "out"
    endings |= {"dim=16": "stubborn"}
    signal_when(lambda: bool(list(out.glob("swept/*/metrics.jsonl"))), signal.SIGINT, signal.SIGINT)
    (outcome,) = run_plan(make_plan(), out, 1, quiet=True)
    assert outcome.state == "interrupted"
    pid = json.loads((outcome.path / "events.jsonl").read_text())["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("why", ["it has no recipe.yaml", "an older jepakit's checkpoints", "its recipe.yaml cannot be read"])
def test_a_run_that_cannot_be_resumed_restarts_with_a_notice(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary, capsys: pytest.CaptureFixture[str], why: str
) -> None:
    plan = make_plan()
    folder = tmp_path / "out" / "swept" / plan.runs[0].id
    (folder / "checkpoints" / "000000000032").mkdir(parents=True)
    (folder / "events.jsonl").touch()
    if "no recipe" not in why:
        (folder / "recipe.yaml").write_text(dump(plan.runs[0].recipe) if "older" in why else "a: [")
    if "older" in why:
        (folder / "checkpoints" / "000000000032" / "counters.json").touch()
    (outcome,) = run_plan(plan, tmp_path / "out", 1)
    assert outcome.state == "finished"
    assert [line.split()[0] for line in diary()] == ["start", "end"]
    assert not (folder / "checkpoints").exists()
    assert f"notice: `encoder.dim=16` seed 0 restarts ({folder}): {why}\n" in capsys.readouterr().err


def test_a_run_that_other_code_has_trained_does_not_count(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    """As if a module of the user's had been edited between the sweep's start and the run's."""
    endings |= {"dim=16": "edited"}
    (outcome,) = run_plan(make_plan(), tmp_path / "out", 1, quiet=True)
    assert outcome.state == "failed"
    assert "holds a run of other code" in str(outcome.error)
    with pytest.raises(UserError, match=r"holds a run of other code: .*: remove it, or name another folder with --out"):
        run_plan(make_plan(), tmp_path / "out", 1, quiet=True)


def test_the_cause_of_an_earlier_failure_is_not_reported_again(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    plan = make_plan()
    endings |= {"dim=16": "fail"}
    run_plan(plan, tmp_path / "out", 1, quiet=True)
    endings |= {"dim=16": "refuse"}
    (outcome,) = run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert (outcome.state, outcome.error) == ("failed", "your mistake\n    write something else")


def test_progress_counts_from_where_a_run_resumes(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    plan = make_plan()
    endings |= {"dim=16": "die"}
    run_plan(plan, tmp_path / "out", 1, quiet=True)
    path = tmp_path / "out" / "swept" / plan.runs[0].id
    run = Watched.of(plan.runs[0], find_run(plan.runs[0], path))
    assert (run.state, run.steps, run.steps_per_second) == ("waiting", 32, 32.0)
    clock = Clock([run])
    assert clock.footer() == "1 runs, 1 waiting", "nothing was done in this sweep yet"
    with (path / "metrics.jsonl").open("w") as file:  # a resume cut it back
        file.write('{"phase": "train", "env_steps": 16, "wall_s": 0.5}\n')
    run.follow()
    assert run.steps == 16
    assert "steps/s" not in clock.footer()
    run.state = "running"
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "train", "env_steps": 48, "wall_s": 1.5}\n')
    run.follow()
    assert (run.steps, run.steps_per_second, run.seconds_left) == (48, 32.0, 0.5)
    assert "steps/s, ETA" in clock.footer()


def test_a_run_that_another_host_writes_is_left_alone(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary) -> None:
    plan = make_plan("encoder.dim=16,32")
    folder = tmp_path / "out" / "swept" / plan.runs[0].id
    folder.mkdir(parents=True)
    (folder / "lock").write_text('{"pid": 1, "host": "elsewhere.example"}')  # this host cannot know whether it is alive
    elsewhere, finished = run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert (elsewhere.state, finished.state) == ("elsewhere", "finished")
    assert [path.name for path in elsewhere.path.iterdir()] == ["lock"]


def test_a_sweep_waits_for_a_run_that_another_process_of_this_host_is_writing(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jepakit.sweep.scheduler.LOOK_AGAIN_SECONDS", 0.1)
    plan = make_plan("encoder.dim=16,32")
    folder = tmp_path / "out" / "swept" / plan.runs[0].id
    folder.mkdir(parents=True)
    held = Lock(folder)
    threading.Timer(1.5, held.release).start()  # it ends and leaves the run to this sweep
    began = time.monotonic()
    assert states(run_plan(plan, tmp_path / "out", 1, quiet=True)) == ["finished"] * 2
    assert time.monotonic() - began > 1.4
    assert len([line for line in diary() if not line.startswith("end")]) == 2


def test_ctrl_c_ends_the_wait(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    plan = make_plan()
    folder = tmp_path / "out" / "swept" / plan.runs[0].id
    folder.mkdir(parents=True)
    held = Lock(folder)
    signal_when(lambda: True, signal.SIGINT)
    assert states(run_plan(plan, tmp_path / "out", 1, quiet=True)) == ["elsewhere"]
    held.release()


def test_a_run_that_another_process_takes_over_has_not_failed(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str]) -> None:
    plan = make_plan()
    endings |= {"dim=16": "late"}
    (outcome,) = run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert (outcome.state, outcome.error) == ("elsewhere", "")


def test_a_recorded_run_is_not_repeated(
    tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary, write_record: Callable[..., Path]
) -> None:
    plan = make_plan("encoder.dim=16,32")
    record = write_record(plan.runs[0])
    there, new = run_plan(plan, tmp_path / "out", 2, [record.parent], quiet=True)
    assert (there.state, there.path, there.fresh, there.summary["return_last_100"]) == ("recorded", record, False, 9.0)
    assert (new.state, len(diary())) == ("finished", 2)


def test_editing_the_recipe_during_a_sweep_changes_nothing(
    tmp_path: Path, recipe: Path, make_plan: MakePlan, endings: dict[str, str]
) -> None:
    plan = make_plan()
    recipe.write_text("broken: [")
    (outcome,) = run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert outcome.state == "finished"
    assert "name: swept" in (outcome.path / "recipe.yaml").read_text()


def test_a_folder_that_is_no_run_is_not_overwritten(tmp_path: Path, make_plan: MakePlan, endings: dict[str, str], diary: Diary) -> None:
    plan = make_plan()
    folder = tmp_path / "out" / "swept" / plan.runs[0].id
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not empty"):
        run_plan(plan, tmp_path / "out", 1, quiet=True)
    assert (folder / "thesis.tex").exists()
    assert not diary()
