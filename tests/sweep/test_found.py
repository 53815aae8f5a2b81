"""A sweep finds what already exists of a run: nothing, a part, a result or a record."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from jepakit.errors import UserError
from jepakit.recipe import dump
from jepakit.storage.folder import RunFolder
from jepakit.storage.lock import Lock
from jepakit.sweep.found import find_run
from jepakit.sweep.plan import Plan, Planned, load_sweep

WriteRecord = Callable[..., Path]


@pytest.fixture
def run(make_plan: Callable[..., Plan]) -> Planned:
    return make_plan().runs[0]


def events(folder: Path) -> Path:
    """Make a run's folder without a summary."""
    folder.mkdir()
    (folder / "events.jsonl").write_text('{"event": "start"}\n{"event": "half a li')
    return folder


def finished(folder: Path, recipe: str, status: str = "finished") -> Path:
    events(folder)
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "summary.json").write_text(json.dumps({"status": status, "return_last_100": 7.0}))
    return folder


def test_a_missing_or_empty_folder_is_a_new_run(tmp_path: Path, run: Planned) -> None:
    assert find_run(run, tmp_path / "none").state == "new"
    (tmp_path / "empty").mkdir()
    assert find_run(run, tmp_path / "empty").state == "new"


@pytest.mark.parametrize(("status", "state"), [("finished", "finished"), ("stopped", "finished"), ("failed", "unfinished")])
def test_the_summary_tells_whether_a_run_has_ended(tmp_path: Path, run: Planned, status: str, state: str) -> None:
    found = find_run(run, finished(tmp_path / "run", dump(run.recipe), status))
    assert found.state == state
    assert (found.summary or {}).get("return_last_100") == (7.0 if state == "finished" else None)


def test_a_record_is_used_unless_a_finished_run_exists(tmp_path: Path, run: Planned, write_record: WriteRecord) -> None:
    path = write_record(run)
    found = find_run(run, tmp_path / "none", [tmp_path / "records"])
    assert (found.state, found.path) == ("recorded", path)
    assert found.summary is not None
    assert found.summary["return_last_100"] == 9.0
    assert find_run(run, finished(tmp_path / "run", dump(run.recipe)), [tmp_path / "records"]).state == "finished"


def test_a_stored_run_with_other_values_is_refused(tmp_path: Path, run: Planned, write_record: WriteRecord) -> None:
    other = dump(run.recipe).replace("dim: 16", "dim: 32")
    with pytest.raises(UserError, match=r"`encoder.dim` is 32 there and 16 here"):
        find_run(run, finished(tmp_path / "run", other))
    write_record(run, total_steps=65)
    with pytest.raises(UserError, match=r"`total_steps` is 65 there and 64 here"):
        find_run(run, tmp_path / "none", [tmp_path / "records"])


def test_a_run_with_its_own_copy_of_a_weights_file_is_found(tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"weights")
    frozen = f"jepa.target={{kind: frozen, checkpoint: {tmp_path / 'other.safetensors'}}}"
    (run,) = load_sweep(recipe, [frozen]).runs
    RunFolder(finished(tmp_path / "run", "")).write_recipe(run.recipe)
    assert "checkpoint: weights/" in (tmp_path / "run" / "recipe.yaml").read_text()
    assert find_run(run, tmp_path / "run").state == "finished"


def test_names_intervals_and_fields_of_other_versions_do_not_matter(tmp_path: Path, run: Planned) -> None:
    other = yaml.safe_load(dump(run.recipe)) | {"name": "renamed", "checkpoint_every": 3, "field_of_tomorrow": 1}
    del other["on_collapse"]
    assert find_run(run, finished(tmp_path / "run", yaml.safe_dump(other))).state == "finished"


def test_a_folder_locked_by_a_running_process_is_left_to_it(tmp_path: Path, run: Planned) -> None:
    folder = finished(tmp_path / "mine", dump(run.recipe), "interrupted")
    held = Lock(folder)
    assert find_run(run, folder).state == "elsewhere"
    held.release()
    assert find_run(run, folder).state == "unfinished"


def test_a_folder_locked_by_a_dead_process_is_unfinished_unless_on_another_host(tmp_path: Path, run: Planned) -> None:
    folder = finished(tmp_path / "dead", dump(run.recipe), "interrupted")
    (folder / "lock").write_text(json.dumps({"pid": 1, "host": platform.node()}))
    assert find_run(run, folder).state == "unfinished"
    (folder / "lock").write_text('{"pid": 1, "host": "elsewhere.example"}')
    assert find_run(run, folder).state == "elsewhere"


def test_an_unfinished_run_with_other_values_is_refused(tmp_path: Path, run: Planned) -> None:
    folder = finished(tmp_path / "run", dump(run.recipe).replace("dim: 16", "dim: 32"), "failed")
    with pytest.raises(UserError, match=r"`encoder.dim` is 32 there and 16 here"):
        find_run(run, folder)


def test_a_run_that_cannot_be_resumed_is_broken(tmp_path: Path, run: Planned) -> None:
    found = find_run(run, events(tmp_path / "run"))
    assert (found.state, found.why) == ("broken", "it has no recipe.yaml")
    (tmp_path / "run" / "recipe.yaml").write_text("[")
    found = find_run(run, tmp_path / "run")
    assert (found.state, found.why) == ("broken", "its recipe.yaml cannot be read")


def test_a_plug_in_that_was_edited_in_the_runs_folder_is_refused(tmp_path: Path, recipe: Path) -> None:
    """Resuming the run would import it."""
    (tmp_path / "mine.py").write_text("x = 1\n")
    recipe.write_text(recipe.read_text() + "plugins: [./mine.py]\n")
    (planned,) = load_sweep(recipe).runs
    folder = events(tmp_path / "run")
    RunFolder(folder).write_recipe(planned.recipe)
    assert find_run(planned, folder).state == "unfinished"
    (folder / "plugins" / "0" / "mine.py").write_text("x = 2\n")
    with pytest.raises(UserError, match=r"mine\.py is not the plug-in `.*mine\.py`: it was edited"):
        find_run(planned, folder)
