"""What is already there of a run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from jepakit.errors import UserError
from jepakit.recipe import dump
from jepakit.sweep.found import find_run
from jepakit.sweep.plan import Plan, Planned

WriteRecord = Callable[..., Path]


@pytest.fixture
def run(make_plan: Callable[..., Plan]) -> Planned:
    return make_plan().runs[0]


def events(folder: Path, **start: Any) -> Path:
    """A run's folder without a summary."""
    folder.mkdir()
    event = {"event": "start", "pid": os.getpid(), "host": platform.node(), "time": datetime.now(UTC).isoformat()} | start
    (folder / "events.jsonl").write_text(json.dumps(event) + '\n{"event": "half a li')
    return folder


def finished(folder: Path, recipe: str, status: str = "finished") -> Path:
    events(folder)
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "summary.json").write_text(json.dumps({"status": status, "return_last_100": 7.0}))
    return folder


def test_nothing_is_new(tmp_path: Path, run: Planned) -> None:
    assert find_run(run, tmp_path / "none").state == "new"
    (tmp_path / "empty").mkdir()
    assert find_run(run, tmp_path / "empty").state == "new"


@pytest.mark.parametrize(("status", "state"), [("finished", "finished"), ("stopped", "finished"), ("failed", "unfinished")])
def test_the_summary_tells_whether_a_run_has_ended(tmp_path: Path, run: Planned, status: str, state: str) -> None:
    found = find_run(run, finished(tmp_path / "run", dump(run.recipe), status))
    assert found.state == state
    assert (found.summary or {}).get("return_last_100") == (7.0 if state == "finished" else None)


def test_a_record_counts_as_finished(tmp_path: Path, run: Planned, write_record: WriteRecord) -> None:
    path = write_record(run)
    found = find_run(run, tmp_path / "none", [tmp_path / "records"])
    assert (found.state, found.path) == ("recorded", path)
    assert found.summary is not None
    assert found.summary["return_last_100"] == 9.0
    assert find_run(run, finished(tmp_path / "run", dump(run.recipe)), [tmp_path / "records"]).state == "finished"


def test_a_stored_run_of_other_values_is_refused(tmp_path: Path, run: Planned, write_record: WriteRecord) -> None:
    other = dump(run.recipe).replace("dim: 16", "dim: 32")
    with pytest.raises(UserError, match=r"`encoder.dim` is 32 there and 16 here"):
        find_run(run, finished(tmp_path / "run", other))
    write_record(run, total_steps=65)
    with pytest.raises(UserError, match=r"`total_steps` is 65 there and 64 here"):
        find_run(run, tmp_path / "none", [tmp_path / "records"])


def test_names_cadences_and_fields_that_one_jepakit_lacks_do_not_matter(tmp_path: Path, run: Planned) -> None:
    other = yaml.safe_load(dump(run.recipe)) | {"name": "renamed", "checkpoint_every": 3, "field_of_tomorrow": 1}
    del other["on_collapse"]
    assert find_run(run, finished(tmp_path / "run", yaml.safe_dump(other))).state == "finished"


def test_a_folder_of_a_living_process_is_its_own(tmp_path: Path, run: Planned) -> None:
    assert find_run(run, events(tmp_path / "mine")).state == "elsewhere"


def test_a_folder_of_a_dead_process_is_unfinished_unless_it_is_on_another_host(tmp_path: Path, run: Planned) -> None:
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    assert find_run(run, events(tmp_path / "dead", pid=gone.pid)).state == "unfinished"
    assert find_run(run, events(tmp_path / "far", pid=gone.pid, host="elsewhere.example")).state == "elsewhere"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_process_that_is_younger_than_the_run_is_another_one(tmp_path: Path, run: Planned) -> None:
    assert find_run(run, events(tmp_path / "old", time="2020-01-01T00:00:00+00:00")).state == "unfinished"


def test_a_folder_that_was_just_taken_is_left_alone(tmp_path: Path, run: Planned) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "events.jsonl").touch()
    assert find_run(run, taken).state == "elsewhere"
    long_ago = time.time() - 3600
    os.utime(taken / "events.jsonl", (long_ago, long_ago))
    assert find_run(run, taken).state == "unfinished"
