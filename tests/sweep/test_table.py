"""What a user sees while a sweep runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jepakit.sweep import table
from jepakit.sweep.plan import Plan
from jepakit.sweep.table import LiveBoard, PlainBoard
from jepakit.sweep.watched import Watched


def watched(plan: Plan, folder: Path) -> list[Watched]:
    return [Watched(run, "waiting", folder / run.id) for run in plan.runs]


def train(run: Watched, **record: object) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    figures = {"return_last_100": 123.456, "wall_s": 2.0, "embedding/variance": 0.25} | record
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"phase": "train", **figures}) + '\n{"phase": "episode"}\n')


def shown(runs: Sequence[Watched], height: int, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(LiveBoard("swept", runs, console).table())
    text = console.file.getvalue()
    assert len(text.splitlines()) <= height
    return text


@pytest.fixture
def runs(make_plan: Callable[..., Plan], tmp_path: Path) -> list[Watched]:
    return watched(make_plan("encoder.dim=16,32", seeds=2), tmp_path)


def test_a_run_is_followed_while_it_writes(runs: list[Watched]) -> None:
    run = runs[0]
    run.state = "running"
    run.follow()
    assert (run.steps, run.seconds_left, run.return_last_100) == (0, None, None)
    train(run, env_steps=16)
    run.follow()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "train", "env_st')
    run.follow()
    assert (run.steps, run.steps_per_second, run.seconds_left, run.return_last_100, run.variance) == (16, 8.0, 6.0, 123.456, 0.25)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('eps": 80, "return_last_100": null, "wall_s": 4.0, "embedding/variance": 0.125}\n')
    run.follow()
    assert (run.steps, run.seconds_left, run.return_last_100, run.variance) == (64, 0.0, None, 0.125)


def test_the_table_shows_every_run(runs: list[Watched]) -> None:
    runs[0].state = "running"
    train(runs[0], env_steps=16)
    runs[0].follow()
    runs[1].state, runs[1].summary = "recorded", {"return_last_100": 7.0, "embedding_variance": 1e-8, "steps_per_second": 300.0}
    rows = shown(runs, height=24).splitlines()
    assert rows[0].split() == ["run", "seed", "state", "done", "return", "variance", "steps/s", "ETA"]
    assert rows[1].split() == ["encoder.dim=16", "0", "running", "25%", "123.5", "0.25", "8", "0:06"]
    assert rows[2].split() == ["encoder.dim=16", "1", "recorded", "100%", "7", "1e-08", "300", "-"]
    assert rows[3].split() == ["encoder.dim=32", "0", "waiting", "0%", "-", "-", "-", "-"]
    assert rows[-1].startswith("swept: 4 runs, 1 running, 1 recorded, 2 waiting")


def test_a_short_terminal_shows_running_and_failed_runs(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    runs = watched(make_plan("encoder.dim=16,32,48,64", seeds=5), tmp_path)
    runs[7].state = "running"
    runs[11].state = "failed"
    rows = shown(runs, height=10).splitlines()
    assert [row.split()[:3] for row in rows[1:-1]] == [["encoder.dim=32", "2", "running"], ["encoder.dim=48", "1", "failed"]]
    assert rows[-1].startswith("swept: 20 runs, 18 waiting, 1 running, 1 failed")


def test_a_label_is_shown_literally_and_cut_if_it_is_too_long(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    runs = watched(make_plan("env.size=[20, 30],[40, 60]"), tmp_path)
    assert "env.size=[20, 30]" in shown(runs, height=24)
    assert len(shown(runs, height=24, width=50).splitlines()) == 4
    runs[0].planned = replace(runs[0].planned, label="[red] J[/red]")
    assert "[red] J[/red]" in shown(runs, height=24)


def test_without_a_terminal_lines_report_starts_ends_and_overall_progress(runs: list[Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(table, "perf_counter", lambda: now)
    stream = io.StringIO()
    board = PlainBoard("swept", runs, stream)
    runs[0].state = "running"
    board.tell(runs[0])
    train(runs[0], env_steps=16)
    runs[0].follow()
    board.update()
    now = 160.0
    board.update()
    board.update()
    runs[0].state, runs[0].error = "failed", "ValueError: no"
    board.tell(runs[0])
    assert stream.getvalue().splitlines() == [
        "swept: 4 runs, 4 waiting",
        f"running `encoder.dim=16` seed 0 ({runs[0].path})",
        # 16 steps in a minute, 240 to go
        "4 runs, 1 running, 3 waiting, 0 steps/s, ETA 15:00; `encoder.dim=16` seed 0 25%",
        f"failed `encoder.dim=16` seed 0 ({runs[0].path}): ValueError: no",
    ]
