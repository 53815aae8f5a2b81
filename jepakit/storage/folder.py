"""A run's folder: what is in it and how each file is written."""

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
from jepakit.storage.lock import Lock


class RunFolder:
    """What a run leaves: recipe, provenance, metrics, events, summary, checkpoints and, of a replay, frames.

    ``metrics.jsonl`` holds only what recipe and seed decide, apart from fields named ``wall_s`` or ``time/…``; what happens to the process
    goes to ``events.jsonl``.
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
        """Take ``path`` for a new run.

        Raises:
            UserError: It is not empty, or can't be written.
        """
        refuse_taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
            try:
                (path / "events.jsonl").touch(exist_ok=False)
            except OSError:
                lock.release()
                raise
        except FileExistsError:
            raise UserError(f"{path} was taken by another run just now: name another folder") from None
        except OSError as error:
            raise UserError(f"can't write to {path}: {error.strerror}") from None
        return cls(path, lock)

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Take ``path``, which holds a run, to go on with it.

        Raises:
            UserError: Another process writes it, it can't be written, or writing it would write elsewhere.
        """
        _refuse_links(path)
        try:
            folder = cls(path, Lock(path))
            _cut_half_a_line(path / "events.jsonl")
        except OSError as error:
            raise UserError(f"can't write to {path}: {error.strerror}") from None
        return folder

    @property
    def wall_s(self) -> float:
        """Seconds since the folder was taken."""
        return round(time.perf_counter() - self.start, 3)

    def metric(self, phase: str, **record: Any) -> None:
        """Append a record to ``metrics.jsonl``; a number that is none (a component may log what it likes) is null there."""
        self._append("metrics.jsonl", {"phase": phase, **_numbers(record), "wall_s": self.wall_s})

    def event(self, event: str, **record: Any) -> None:
        """Append a record to ``events.jsonl``."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append("events.jsonl", {"event": event, "time": now, "wall_s": self.wall_s, **record})

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file as a whole or not at all; what is no number is null there, too."""
        write_atomically(self.path / name, json.dumps(_numbers(content), indent=2, allow_nan=False) + "\n")

    def write_recipe(self, recipe: Recipe) -> None:
        """``recipe.yaml`` with every default: running it again gives the same run, also where the folder has been moved to.

        Plug-in files are copied to ``plugins/`` beside it, files of weights that components read to ``weights/``.
        """
        copies = {id(plugin): copy for copy, plugin in plugin_copies(self.path, recipe)}
        entries = []
        for plugin in recipe.loaded_plugins:
            if plugin.file is None:
                entries.append(plugin.name)  # a module stays where it is installed
                continue
            copy = copies[id(plugin)]
            copy.parent.mkdir(parents=True)
            copy.write_bytes(plugin.content)  # what was imported, and is in the id: the file may have changed since
            entries.append(copy.relative_to(self.path).as_posix())
        values: dict[str, Any] = {"plugins": tuple(entries)}
        for place, file in files_read(recipe).items():
            copy = self.path / "weights" / place / file.name
            if file.is_file():
                copy.parent.mkdir(parents=True)
                with needing(file.stat().st_size, f"a copy of {file}", self.path):
                    copyfile(file, copy)
                values[place] = copy.relative_to(self.path).as_posix()
        write_atomically(self.path / "recipe.yaml", dump(recipe.with_values(values)))

    def metrics_bytes(self) -> int:
        """The size of ``metrics.jsonl``, all of which is on the disk now."""
        file = self._file("metrics.jsonl")
        os.fsync(file.fileno())
        return file.tell()

    def go_on_from(self, metrics_bytes: int, wall_s: float) -> int:
        """Cut ``metrics.jsonl`` back to what a checkpoint knows of it; ``wall_s`` are the seconds that the run had taken by then.

        Returns:
            How many bytes the file lacks: somebody has cut it.
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
        """Close the files that are appended to, and let go of the lock."""
        self._close_files()
        if self.lock:
            self.lock.release()
            self.lock = None

    def _close_files(self) -> None:
        for file in self._open.values():
            with contextlib.suppress(OSError):  # on a full disk, of which the write itself has told
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


def _refuse_links(path: Path) -> None:
    """Refuse a folder, perhaps from somebody else, in which a resume would write to or remove files outside it.

    Raises:
        UserError: A path that a resume writes or removes is a link or a special file.
    """
    for file in (path / "lock", path / "summary.json", *path.glob("*.jsonl")):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise UserError(f"{file} is no plain file: what is behind it would be written over")
    for folder in (path / "checkpoints", path / "replay"):
        for below in chain([folder], folder.rglob("*")):  # the folder itself first: a link may lead to a whole disk
            if below.is_symlink() or (below.exists() and not (below.is_file() or below.is_dir())):
                raise UserError(f"{below} is a link or no plain file: what is behind it would be written over or removed")


def _numbers(record: dict[str, Any]) -> dict[str, Any]:
    """NaN and the infinities as null: JSON has no word for them."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()}


def plugin_copies(folder: Path, recipe: Recipe) -> list[tuple[Path, Plugin]]:
    """Where a run keeps its copies of plug-ins that are files."""
    numbered = enumerate(recipe.loaded_plugins)
    return [(folder / "plugins" / str(number) / plugin.file.name, plugin) for number, plugin in numbered if plugin.file]


def _cut_half_a_line(path: Path) -> None:
    """A process that was killed may have left half a line."""
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)


def refuse_taken(path: Path) -> None:
    """Nothing of a user's is ever written over.

    Raises:
        UserError: ``path`` is a file, or a folder with something in it.
    """
    if path.is_dir():
        if any(path.iterdir()):
            raise UserError(f"{path} is not empty: name an empty or a new folder")
    elif path.exists():
        raise UserError(f"{path} is a file: name an empty or a new folder")


def read_summary(path: Path) -> dict[str, Any] | None:
    """The ``summary.json`` of the run at ``path``, or None while there is none that can be read."""
    file = path / "summary.json"
    try:
        summary = json.loads(read_text(file)) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    return summary if isinstance(summary, dict) and isinstance(summary.get("status"), str) else None
