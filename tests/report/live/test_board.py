"""The board follows runs as they grow, reads nothing twice, and survives damage, cuts, removals and hundreds of runs."""

from __future__ import annotations

import json
import os
import shutil
import time
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from jepakit.report.live import board as module
from jepakit.report.live.board import Board, Watched
from jepakit.report.live.view import picture
from jepakit.storage.lock import Lock


def start(folder: Path, seed: int = 0, **recipe: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(json.dumps({"name": "mine", "seed": seed, "total_steps": 1000, **recipe}))
    (folder / "events.jsonl").write_text('{"event": "start"}\n')
    return folder


def add(run: Path, *steps: int, returns: float = 5.0, variance: float = 0.5) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        for step in steps:
            record = {"phase": "train", "env_steps": step, "return_last_100": returns, "embedding/variance": variance}
            file.write(json.dumps(record | {"embedding/mean_square": 1.0, "wall_s": step / 50}) + "\n")


def text(runs: list[Watched], width: int = 140, height: int | None = None) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(picture(runs, width, height))
    return console.export_text()


@pytest.fixture(autouse=True)
def always_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCH_EVERY", 0.0)
    monkeypatch.setattr(module, "SEARCH_SHARE", 0)


def test_a_run_is_followed_and_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, parsed = start(tmp_path / "a"), []
    lock = Lock(run)
    add(run, 100, 200)
    board = Board(tmp_path)
    (watched,) = board.look()
    assert (watched.env_steps, watched.done, watched.state, watched.ratio, watched.steps_per_second) == (200, 0.2, "running", 0.5, 50)
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda line, **rest: parsed.append(line) or loads(line, **rest))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "episode", "env_steps": 210}\n{"phase": "tra')  # an episode, and half a line
    board.look()
    assert [line for line in parsed if b"phase" in line] == []
    with (run / "metrics.jsonl").open("a") as file:
        file.write('in", "env_steps": 300, "return_last_100": 7.5}\n')
    assert board.look()[0].returns == [(100, 5), (200, 5), (300, 7.5)]
    assert len([line for line in parsed if b"phase" in line]) == 1
    lock.release()
    (run / "summary.json").write_text('{"status": "finished"}')
    assert board.look()[0].state == "finished"


def test_a_long_runs_curve_begins_at_its_beginning_and_is_even(tmp_path: Path) -> None:
    run = start(tmp_path / "a")
    add(run, *range(10, 20_001, 10))  # 2,000 batches
    (watched,) = Board(tmp_path).look()
    steps = [steps for steps, _ in watched.returns]
    assert len(steps) <= module.POINTS + 1
    assert (steps[0], steps[-1]) == (10, 20_000)
    assert len({after - before for before, after in pairwise(steps[:-1])}) == 1


def test_a_resume_cuts_the_metrics_back(tmp_path: Path) -> None:
    run = start(tmp_path / "a")
    add(run, 100, 200, 300)
    board = Board(tmp_path)
    assert board.look()[0].env_steps == 300
    (run / "metrics.jsonl").write_text("".join((run / "metrics.jsonl").read_text().splitlines(keepends=True)[:1]))
    add(run, 150)
    (watched,) = board.look()
    assert [steps for steps, _ in watched.returns] == [100, 150]


def test_damage_hides_no_other_run_and_removed_runs_go(tmp_path: Path) -> None:
    good, bad = start(tmp_path / "good"), start(tmp_path / "bad")
    add(good, 100)
    (bad / "recipe.yaml").write_text(": [")
    (bad / "metrics.jsonl").write_text('{"phase": "train", bad\n["phase": "train"]\n' + "[" * 100_000 + '"phase": "train"\n')
    add(bad, 300)
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd" / "metrics.jsonl")
    board = Board(tmp_path)
    assert {run.name: run.env_steps for run in board.look()} == {"good": 100, "bad": 300, "odd": 0}
    shutil.rmtree(bad)
    assert [run.name for run in board.look()] == ["good", "odd"]


@pytest.mark.parametrize("value", ["1" + "0" * 400, "1e999", "NaN", "-1e308", "true", '"x"'])
def test_a_run_with_impossible_figures_hides_no_other(tmp_path: Path, value: str) -> None:
    start(tmp_path / "good")
    bad = start(tmp_path / "bad")
    add(bad, 100)
    names = ("env_steps", "wall_s", "return_last_100", "embedding/variance", "embedding/mean_square")
    damaged = ", ".join(f'"{name}": {value}' for name in names)
    with (bad / "metrics.jsonl").open("a") as file:
        file.write(f'{{"phase": "train", {damaged}}}\n' * 2)
    (bad / "summary.json").write_text(f'{{"status": "finished", "steps_per_second": {value}}}')
    shown = text(Board(tmp_path).look(), height=50)
    assert "good" in shown
    assert "bad" in shown


def test_a_run_of_another_machine_counts_as_running_and_as_silent_when_it_stops_writing(tmp_path: Path) -> None:
    run = start(tmp_path / "far")
    add(run, 100)
    (run / "lock").write_text('{"pid": 1, "host": "another"}')
    os.utime(run / "metrics.jsonl", (time.time() - 600, time.time() - 600))
    (watched,) = Board(tmp_path).look()
    assert watched.state == "running"
    assert "running, silent 10 min" in text([watched])


def test_collapse_and_warnings_are_shown_with_the_latest_first(tmp_path: Path) -> None:
    first, second = start(tmp_path / "first"), start(tmp_path / "second", seed=1)
    add(first, 100, variance=1e-9)
    add(second, 100)
    events = (
        '{"event": "warning", "time": "2026-01-01T10:00:00", "text": "\\u001b[2Jold"}\n',
        '{"event": "collapsed", "env_steps": 90, "time": "2026-01-02T11:30:00"}\n',
    )
    (second / "events.jsonl").write_text(events[0])
    (first / "events.jsonl").write_text(events[1])
    drawn = text(Board(tmp_path).look(), height=20)
    assert "\x1b" not in drawn
    assert "1.0e-09" in drawn
    assert drawn.index("11:30 first: embedding collapsed at 90 env steps") < drawn.index("10:00 second: \\x1b[2Jold")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_every_width_fits_and_shows_the_name_and_the_state(tmp_path: Path, width: int) -> None:
    for name in ("a", "b" * 60):
        add(start(tmp_path / name, encoder={"kind": "vit", "dim": len(name)}), *range(100, 2100, 100))
    drawn = text(Board(tmp_path).look(), width, height=50)
    assert max(map(len, drawn.splitlines())) <= width
    assert "killed" in drawn
    assert "a " in drawn
    assert ("▁" in drawn) == (width >= 60)
    assert "100%" in drawn or width < 80


def test_hundreds_of_runs_are_quick_and_as_many_are_shown_as_fit(tmp_path: Path) -> None:
    for number in range(300):
        add(start(tmp_path / f"r{number:03}", seed=number), *range(10, 310, 10))
    board = Board(tmp_path)
    runs = board.look()
    started = time.process_time()
    runs = board.look()
    assert time.process_time() - started < 1.0
    drawn = text(runs, height=30)
    assert "300 runs  300 killed" in drawn
    assert "of 300" in drawn
    assert len(drawn.splitlines()) <= 30


def test_runs_that_ended_are_left_alone_between_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, going = start(tmp_path / "ended"), start(tmp_path / "going", seed=1)
    (ended / "summary.json").write_text('{"status": "finished"}')
    lock = Lock(going)
    monkeypatch.setattr(module, "SEARCH_EVERY", 60.0)
    looked: list[str] = []
    look = Watched.look
    monkeypatch.setattr(Watched, "look", lambda run, index: [looked.append(run.name), look(run, index)])
    board = Board(tmp_path)
    for _ in range(3):
        board.look()
    assert sorted(looked) == ["ended", "going", "going", "going"]
    board._search_at = 0.0
    board.look()
    assert looked.count("ended") == 2
    lock.release()


def test_a_finished_run_without_metrics_shows_what_its_summary_says(tmp_path: Path) -> None:
    run = start(tmp_path / "a")
    summary = {"status": "finished", "env_steps": 1000, "return_last_100": 17.5, "steps_per_second": 50.0}
    (run / "summary.json").write_text(json.dumps(summary))
    shown = text(Board(tmp_path).look())
    assert all(told in shown for told in ("1,000", "100%", "17.5", "finished"))
    (run / "summary.json").write_text(json.dumps(summary | {"return_last_100": 0.0, "env_steps": 900, "steps_per_second": 70.0}))
    assert text(Board(tmp_path).look()).count(" 0 ") == 2, "the seed's and the return's: zero is a return"
