"""The inventory reads whatever is in a folder of runs. It changes nothing and trusts nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jepakit.errors import UserError
from jepakit.report.inventory import newest_record, take_inventory
from jepakit.storage.lock import Lock
from jepakit.storage.manifest import FORMAT, checksum_of

MakeFolder = Callable[..., Path]


def checkpoint(run: Path, steps: int, **manifest: object) -> Path:
    path = run / "checkpoints" / f"{steps:012d}"
    path.mkdir(parents=True)
    content = {"format": FORMAT, "files": {}} | manifest
    (path / "manifest.json").write_text(json.dumps(content | {"checksum": checksum_of(content)}))
    return path


@pytest.mark.parametrize("status", ["finished", "stopped", "interrupted", "failed", None])
def test_an_entry_reports_state_progress_and_size(make_folder: MakeFolder, status: str | None) -> None:
    folder = make_folder(status=status, seed=3)
    checkpoint(folder, 1000)
    newest = checkpoint(folder, 2000)
    (entry,) = take_inventory(folder)
    assert (entry.path, entry.name, entry.seed, entry.state) == (folder, "made_up", 3, status or "killed")
    assert (entry.env_steps, entry.total_steps) == (125_456, 3000)
    assert entry.return_last_100 is not None
    assert entry.size == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert entry.resumes_at == (None if status in ("finished", "stopped") else 2000)
    (newest / "manifest.json").write_text("{")
    assert take_inventory(folder)[0].resumes_at == (None if status in ("finished", "stopped") else 1000)


def test_a_running_run_is_recognised_and_not_resumable(make_folder: MakeFolder) -> None:
    folder = make_folder(status=None)
    held = Lock(folder)
    (entry,) = take_inventory(folder)
    assert (entry.state, entry.resumes_at, entry.why_not) == ("running", None, "it is running")
    held.release()
    assert take_inventory(folder)[0].state == "killed"


def test_an_entry_says_why_its_run_cannot_be_resumed(make_folder: MakeFolder) -> None:
    old, newer, bare, fresh = (make_folder(f"runs/{name}", status=None) for name in ("old", "newer", "bare", "fresh"))
    (checkpoint(old, 5) / "counters.json").touch()
    checkpoint(newer, 5, format=FORMAT + 1)
    (bare / "recipe.yaml").unlink()
    found = {entry.path: entry for entry in take_inventory(old.parent)}
    assert [found[path].why_not for path in (old, newer, bare)] == [
        "an older jepakit's checkpoints",
        "another jepakit's checkpoints",
        "it has no recipe.yaml",
    ]
    assert found[fresh].resumes_at == 0
    assert (found[bare].name, found[bare].seed, found[bare].total_steps) == ("?", None, None)


def test_runs_are_found_at_any_depth_and_sorted(make_folder: MakeFolder, tmp_path: Path) -> None:
    for name in ("runs/b/2", "runs/b/1", "runs/a", "runs/.hidden/3"):
        make_folder(name)
    (tmp_path / "runs" / "notes.txt").touch()
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs")
    assert [str(entry.path.relative_to(tmp_path / "runs")) for entry in take_inventory(tmp_path / "runs")] == ["a", "b/1", "b/2"]
    assert take_inventory(tmp_path / "runs" / "empty") == []
    with pytest.raises(UserError, match="there is no folder"):
        take_inventory(tmp_path / "nowhere")


JUNK = [b"", b"[]", b"7", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"status": 3, "env_steps": "many"}', b"a: &a [*a]", b"name: [\x1b[31m]"]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", ["recipe.yaml", "summary.json", "metrics.jsonl", "events.jsonl", "lock", "checkpoints"])
def test_junk_in_a_file_raises_nothing(make_folder: MakeFolder, name: str, junk: bytes) -> None:
    folder = make_folder()
    (folder / name).write_bytes(junk)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    (entry,) = take_inventory(folder)
    assert entry.state in ("finished", "killed")
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["recipe.yaml", "summary.json", "metrics.jsonl", "lock"])
def test_special_files_raise_nothing(make_folder: MakeFolder, name: str) -> None:
    folder = make_folder()
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    assert len(take_inventory(folder)) == 1
    (folder / name).rmdir()
    for odd in (lambda path: path.symlink_to(path), os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        odd(folder / name)
        assert len(take_inventory(folder)) == 1
        (folder / name).unlink()


def test_a_name_with_terminal_escape_codes_is_not_shown(make_folder: MakeFolder) -> None:
    folder = make_folder(changes={"name": "\x1b]0;mine\x07"})
    assert take_inventory(folder)[0].name == "?"


def test_the_newest_train_record_is_found_at_the_end_of_a_long_file(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    assert newest_record(metrics) == {}
    line = json.dumps({"phase": "train", "env_steps": 8, "x": "-" * 900}) + "\n"
    metrics.write_text(line * 500 + '{"phase": "episode"}\nnull\n7\n[]\n{"phase": "train", "env_ste')
    assert newest_record(metrics)["env_steps"] == 8
    with metrics.open("a") as file:  # thousands of episodes within one batch
        file.write("\n" + '{"phase": "episode", "env_steps": 9}\n' * 10_000)
    assert newest_record(metrics)["env_steps"] == 8
    os.truncate(metrics, len(line) - 1)  # a resume has truncated the file and is writing
    assert newest_record(metrics) == {}
