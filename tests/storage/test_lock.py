"""Only one process writes to a folder, however the previous one ended."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jepakit.errors import UserError
from jepakit.storage import lock
from jepakit.storage.folder import FolderGone, RunFolder
from jepakit.storage.lock import Lock, holder, is_locked

HOLD = """
import sys, time
from pathlib import Path
from jepakit.storage.lock import Lock
held = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.05)


def test_a_lock_is_held_reported_and_released(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    held = Lock(tmp_path)
    assert is_locked(tmp_path)
    assert json.loads((tmp_path / "lock").read_text()) == {"pid": os.getpid(), "host": platform.node()}
    with pytest.raises(UserError, match=rf"process {os.getpid()} on {platform.node()} is writing"):
        Lock(tmp_path)
    held.release()
    assert not is_locked(tmp_path)
    assert not list(tmp_path.iterdir())
    Lock(tmp_path).release()


def test_a_killed_owners_lock_is_taken_over(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    assert owner.stdout.readline() == "held\n"
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match=f"process {owner.pid} on"):
        Lock(tmp_path)
    owner.kill()
    owner.wait()
    assert (tmp_path / "lock").exists()
    assert not is_locked(tmp_path)
    held = Lock(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    held.release()


def test_checking_a_lock_leaves_it_unchanged(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": platform.node()}))
    before = (tmp_path / "lock").stat().st_mtime_ns
    assert not is_locked(tmp_path)
    assert (tmp_path / "lock").stat().st_mtime_ns == before


def test_another_hosts_lock_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"pid": 12, "host": "elsewhere.example"}')
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match=r"process 12 on elsewhere\.example was writing .*; if it has ended, remove .*lock"):
        Lock(tmp_path)
    assert "elsewhere" in (tmp_path / "lock").read_text()
    (tmp_path / "lock").unlink()
    Lock(tmp_path).release()


@pytest.mark.parametrize("content", ["", "{", "[1]", "7", '{"pid": 1}', "[" * 50_000])
def test_a_lock_without_a_named_owner_is_taken_over(tmp_path: Path, content: str) -> None:
    """The owner was killed before it wrote its name."""
    (tmp_path / "lock").write_text(content)
    assert not is_locked(tmp_path)
    Lock(tmp_path).release()


def test_a_lock_released_during_acquisition_is_created_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Lock(tmp_path)
    flock = lock.fcntl.flock

    def released_just_now(file: object, how: int) -> None:
        monkeypatch.setattr(lock.fcntl, "flock", flock)
        first.release()
        flock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(lock.fcntl, "flock", released_just_now)
    second = Lock(tmp_path)
    assert is_locked(tmp_path)
    second.release()


@pytest.mark.parametrize("number", lock.NO_LOCKS)
def test_a_file_system_without_locks_is_refused_and_a_lock_on_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not is_locked(tmp_path)
    with pytest.raises(UserError, match=r"cannot lock files \(.*\): mount it with locks"):
        Lock(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "lock").write_text('{"pid": 1, "host": "another"}')
    assert is_locked(tmp_path)
    assert not is_locked(tmp_path, here=True)


def test_where_locks_do_not_reach_other_hosts_their_name_in_the_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Lock(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # this host sees nothing of the other's lock
    monkeypatch.setattr(platform, "node", lambda: "another-node")
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match="if it has ended, remove"):
        Lock(tmp_path)
    held.release()


def test_who_holds_a_lock_is_told_and_what_to_do_if_that_cannot_be_known(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    assert holder(tmp_path) == f"process {os.getpid()} on {platform.node()}"
    lock.release()
    (tmp_path / "lock").write_text(json.dumps({"pid": 7, "host": "node17"}))
    assert holder(tmp_path) == f"process 7 on node17; if it has ended, remove {tmp_path / 'lock'}"


def test_a_folder_with_nothing_but_a_dead_processs_lock_is_free(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": platform.node()}))
    folder = RunFolder.create(tmp_path)
    assert folder.lock
    folder.lock.release()
    (tmp_path / "events.jsonl").unlink()
    (tmp_path / "lock").write_text(json.dumps({"pid": 1, "host": "node17"}))
    with pytest.raises(UserError, match="is not empty"):
        RunFolder.create(tmp_path)


@pytest.mark.parametrize("how", ["removed", "moved", "made anew"])
def test_a_folder_that_is_gone_is_noticed(tmp_path: Path, how: str) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.expect_in_place()
    folder.path.rename(tmp_path / "moved")
    if how == "removed":
        shutil.rmtree(tmp_path / "moved")
    elif how == "made anew":
        folder.path.mkdir()
    with pytest.raises(FolderGone, match="was removed or moved while the run wrote to it"):
        folder.expect_in_place()
