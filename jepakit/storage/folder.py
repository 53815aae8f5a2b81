"""A run's folder: its files, and how each is written."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from shutil import copyfile
from typing import IO, Any

from jepakit.errors import UserError
from jepakit.files.reading import read_text
from jepakit.files.writing import needing, write_atomically
from jepakit.recipe import Recipe, dump
from jepakit.recipe.identity import files_read
from jepakit.registry.plugins import Plugin
from jepakit.storage.lock import NAME as LOCK
from jepakit.storage.lock import Lock, is_locked


class FolderGone(OSError):
    """A run's folder is no longer where the run began."""


class RunFolder:
    """The files of a run: recipe, provenance, metrics, events, summary, checkpoints and, with replay, frames.

    Recipe and seed determine the content of ``metrics.jsonl``, except the fields ``wall_s`` and ``time/…``. Events of the process go to
    ``events.jsonl``.
    """

    def __init__(self, path: Path, lock: Lock | None = None) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.replay = path / "replay"
        self.start = time.perf_counter()
        self.lock = lock
        self._open: dict[str, IO[str]] = {}

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Create and lock ``path`` for a new run.

        Raises:
            UserError: The folder is not empty, or can't be written.
        """
        refuse_taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
            try:
                (path / "events.jsonl").touch(exist_ok=False)
            except BaseException:
                lock.release()
                raise
        except FileExistsError:
            raise UserError(f"another run has just taken {path}: name another folder") from None
        except OSError as error:
            raise UserError(f"can't write to {path}: {error.strerror}") from None
        return cls(path, lock)

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Lock ``path``, which holds a run, in order to resume it.

        Raises:
            UserError: Another process is writing the folder, it can't be written, or one of its files is a link to elsewhere.
        """
        _refuse_links(path)
        try:
            folder = cls(path, Lock(path))
            _cut_half_a_line(path / "events.jsonl")
        except OSError as error:
            raise UserError(f"can't write to {path}: {error.strerror}") from None
        return folder

    def expect_in_place(self) -> None:
        """Refuse to write where the folder was.

        Raises:
            FolderGone: It was removed or moved.
        """
        if self.lock and not self.lock.is_in_place():
            raise FolderGone(f"{self.path} was removed or moved while the run wrote to it; a moved folder goes on with `jepakit resume`")

    @property
    def wall_s(self) -> float:
        """Wall-clock seconds of the run, those before a resume included."""
        return round(time.perf_counter() - self.start, 3)

    def metric(self, phase: str, **record: Any) -> None:
        """Append a record to ``metrics.jsonl``; NaN and infinity, which a component may log, become null."""
        self._append("metrics.jsonl", {"phase": phase, **_numbers(record), "wall_s": self.wall_s})

    def event(self, event: str, **record: Any) -> None:
        """Append a record to ``events.jsonl``."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append("events.jsonl", {"event": event, "time": now, "wall_s": self.wall_s, **record})

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file atomically; NaN and infinity become null."""
        write_atomically(self.path / name, json.dumps(_numbers(content), indent=2, allow_nan=False) + "\n")

    def write_recipe(self, recipe: Recipe) -> None:
        """Write ``recipe.yaml`` with every default. Running it gives the same run, even after the folder has moved.

        Plug-in files are copied to ``plugins/`` beside it, and weight files that components read to ``weights/``.
        """
        copies = {id(plugin): copy for copy, plugin in plugin_copies(self.path, recipe)}
        entries = []
        for plugin in recipe.loaded_plugins:
            if plugin.file is None:
                entries.append(plugin.name)  # an installed module is not copied
                continue
            copy = copies[id(plugin)]
            copy.parent.mkdir(parents=True)
            copy.write_bytes(plugin.content)  # the imported content, which the id covers: the file may have changed
            entries.append(copy.relative_to(self.path).as_posix())
        values: dict[str, Any] = {"plugins": tuple(entries)}
        for place, file in files_read(recipe).items():
            copy = self.path / "weights" / place / _name_of_copy(file)
            if file.is_file():
                copy.parent.mkdir(parents=True)
                with needing(file.stat().st_size, f"a copy of {file}", self.path):
                    copyfile(file, copy)
                values[place] = copy.relative_to(self.path).as_posix()
        write_atomically(self.path / "recipe.yaml", dump(recipe.with_values(values)))

    def metrics_bytes(self) -> int:
        """Flush ``metrics.jsonl`` to disk and return its size."""
        file = self._file("metrics.jsonl")
        os.fsync(file.fileno())
        return file.tell()

    def go_on_from(self, metrics_bytes: int, wall_s: float) -> int:
        """Cut ``metrics.jsonl`` back to its size at a checkpoint, ``wall_s`` wall-clock seconds into the run.

        Returns:
            How many bytes the file is short of that size; 0 unless someone has cut it.
        """
        self._close_files()
        self.start = time.perf_counter() - wall_s
        path = self.path / "metrics.jsonl"
        path.touch()
        lacking = max(0, metrics_bytes - path.stat().st_size)
        if lacking:
            _cut_half_a_line(path)
        else:
            os.truncate(path, metrics_bytes)
        return lacking

    def close(self) -> None:
        """Close the open files and release the lock. A folder in which no run has begun is removed, so that the next try finds it free."""
        self._close_files()
        events = self.path / "events.jsonl"
        with contextlib.suppress(OSError):
            if not (self.path / "recipe.yaml").exists() and not events.stat().st_size:
                events.unlink()
        if self.lock:
            self.lock.release()
            self.lock = None
        with contextlib.suppress(OSError):
            self.path.rmdir()  # only if it is empty

    def _close_files(self) -> None:
        for file in self._open.values():
            with contextlib.suppress(OSError):  # the disk is full, which the write has already reported
                file.close()
        self._open.clear()

    def _append(self, name: str, record: dict[str, Any]) -> None:
        file = self._file(name)
        line = json.dumps(record, allow_nan=False) + "\n"
        with needing(len(line), f"a record of {name}", self.path):
            file.write(line)
            file.flush()

    def _file(self, name: str) -> IO[str]:
        if name not in self._open:
            self._open[name] = (self.path / name).open("a", encoding="utf-8")
        return self._open[name]


def _name_of_copy(file: Path) -> str:
    """The name of a copy of weights: that of the run and its env steps, or the file's own."""
    if len(file.parents) > 2 and file.parents[1].name == "checkpoints" and file.parent.name.isdecimal():
        return f"{file.parents[2].name}@{int(file.parent.name)}{file.suffix}"
    return file.name


def _refuse_links(path: Path) -> None:
    """Refuse a folder, perhaps from somebody else, in which a resume would write to or remove files outside it.

    Raises:
        UserError: A path that a resume writes or removes is a link or a special file.
    """
    for file in (path / "lock", path / "summary.json", *path.glob("*.jsonl")):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise UserError(f"{file} is not a regular file: a resume would write over what is behind it")
    for folder in (path / "checkpoints", path / "replay"):
        for below in chain([folder], folder.rglob("*")):  # the folder itself first: a link may lead to a whole disk
            if below.is_symlink() or (below.exists() and not (below.is_file() or below.is_dir())):
                raise UserError(f"{below} is a link or a special file: a resume would write over or remove what is behind it")


def _numbers(record: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinities as null, also in lists: JSON cannot hold them."""
    return {name: [_finite(entry) for entry in value] if isinstance(value, list) else _finite(value) for name, value in record.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plugin_copies(folder: Path, recipe: Recipe) -> list[tuple[Path, Plugin]]:
    """The paths of a run's copies of plug-in files."""
    numbered = enumerate(recipe.loaded_plugins)
    return [(folder / "plugins" / str(number) / plugin.file.name, plugin) for number, plugin in numbered if plugin.file]


def _cut_half_a_line(path: Path) -> None:
    """Remove half a line that a killed process may have left at the end."""
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)


def refuse_read_only(path: Path) -> None:
    """Look before the seconds that a rehearsal takes.

    Raises:
        UserError: This process cannot write to ``path``, or cannot make it.
    """
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"can't write to {path}: {there} is read-only here; name another folder with --out DIR")


def refuse_undecodable(path: Path) -> None:
    """Refuse a folder whose checkpoints safetensors could write, but not read again.

    Raises:
        UserError: The path is not UTF-8.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{path}: this name is not UTF-8, so checkpoints cannot be read there: name another folder") from None


def refuse_taken(path: Path) -> None:
    """Refuse to overwrite a user's files.

    Raises:
        UserError: ``path`` is a file, or a folder that is not empty, or its name is not UTF-8.
    """
    refuse_undecodable(path)
    if path.is_dir():
        if {each.name for each in path.iterdir()} - {LOCK} or is_locked(path):
            raise UserError(f"{path} is not empty: name an empty or a new folder")
    elif path.exists():
        raise UserError(f"{path} is a file: name an empty or a new folder")


def read_provenance(path: Path) -> dict[str, Any]:
    """The ``provenance.json`` of the run at ``path``; empty if it does not exist or cannot be read."""
    try:
        return dict(json.loads(read_text(path / "provenance.json")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def read_summary(path: Path) -> dict[str, Any] | None:
    """The ``summary.json`` of the run at ``path``; None if it does not exist or cannot be read."""
    file = path / "summary.json"
    try:
        summary = json.loads(read_text(file)) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return summary if isinstance(summary, dict) and isinstance(summary.get("status"), str) else None


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those around it, if it is not there.

    Raises:
        UserError: It is no folder that can be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"can't write to {folder}: permission denied")
