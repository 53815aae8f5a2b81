"""An inventory of the runs in a folder, in whatever state. Files are only read; no code of a run is executed."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jepakit.errors import UserError, shown
from jepakit.files.reading import walk
from jepakit.recipe.errors import Source
from jepakit.report.labels import called
from jepakit.storage.lock import is_locked
from jepakit.storage.manifest import FORMAT, Corrupt, checkpoints, read_manifest
from jepakit.storage.recipes import Recipes

RUN_FILES = {"events.jsonl", "metrics.jsonl", "summary.json"}
ALREADY = {"finished": "it has finished", "stopped": "it has finished", "running": "it is running"}  #: why there is nothing to resume
ENDED = ("finished", "stopped", "interrupted", "failed")
TAIL = 64 * 1024  #: bytes at a file's end, which hold its newest train record
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")  # an untrusted name could hold terminal escapes
MAX_BYTES = 256 * 1024  #: that are read of a recipe or a summary


@dataclass(frozen=True)
class Entry:
    """A run's folder."""

    path: Path
    name: str  #: its recipe's name; "?" if the recipe cannot be read
    configuration: str  #: its sweep's case, or the values in which its recipe differs from most; empty if there are none
    seed: int | None
    state: str  #: ``finished``, ``stopped``, ``interrupted``, ``failed``, ``killed`` or ``running``
    env_steps: int
    total_steps: int | None
    return_last_100: float | None
    size: int  #: bytes on the disk
    resumes_at: int | None  #: env steps of the checkpoint that a resume would start from; None if the run cannot be resumed
    why_not: str = ""  #: why it cannot be resumed


def take_inventory(folder: Path) -> list[Entry]:
    """The runs at and below ``folder``, sorted by path.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    paths = sorted(find_folders(folder))
    index = Recipes()
    recipes = [read_recipe(path / "recipe.yaml", index) for path in paths]
    index.save()
    known = [recipe for recipe in recipes if recipe]
    names = iter(called(known) if len(known) > 0 else [])
    return [_look(path, recipe, shown(next(names)) if recipe else "") for path, recipe in zip(paths, recipes, strict=True)]


def name_of(recipe: dict[str, Any]) -> str:
    """The recipe's name; "?" if it has none that is safe to print."""
    name = recipe.get("name")
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "?"


def newest_record(metrics: Path) -> dict[str, Any]:
    """The newest train record of a ``metrics.jsonl``, which a process may be writing; empty if there is none."""
    try:
        with _plain(metrics).open("rb") as file:
            end, tail = file.seek(0, os.SEEK_END), TAIL
            while not (found := _newest_in(file, max(0, end - tail), end)) and tail < end:
                tail *= 16  # thousands of episodes may have ended since
    except OSError:
        return {}
    return found


def _newest_in(file: BinaryIO, start: int, end: int) -> dict[str, Any]:
    file.seek(start)
    for line in reversed(file.read(end - start).split(b"\n")[:-1]):  # the last line is empty or incomplete
        if b'"train"' not in line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and record.get("phase") == "train":
            return record
    return {}


def find_folders(folder: Path) -> Iterator[Path]:
    """The folders of runs at and below ``folder``."""
    for path, below, files in walk(folder):
        if RUN_FILES.intersection(files):
            below.clear()
            yield path


def _look(path: Path, recipe: dict[str, Any], configuration: str) -> Entry:
    summary = _summary(path / "summary.json")
    state = "running" if is_locked(path) else str(summary.get("status", "killed"))
    begins_at, why_not = (None, ALREADY[state]) if state in ALREADY else resumes_at(path)
    told = summary or newest_record(path / "metrics.jsonl")
    return Entry(
        path,
        name=name_of(recipe),
        configuration=configuration,
        seed=whole_number(recipe, "seed"),
        state=state,
        env_steps=whole_number(told, "env_steps") or 0,
        total_steps=whole_number(recipe, "total_steps"),
        return_last_100=figure(told, "return_last_100"),
        size=_size(path),
        resumes_at=begins_at,
        why_not=why_not,
    )


def resumes_at(path: Path) -> tuple[int | None, str]:
    """The env steps from which an unfinished run would resume; or None, and why it cannot be resumed. No checksum is verified."""
    if not (path / "recipe.yaml").is_file():
        return None, "it has no recipe.yaml"
    for checkpoint in reversed(checkpoints(path / "checkpoints")):
        if (checkpoint / "counters.json").exists():
            return None, "an older jepakit's checkpoints"
        try:
            manifest = read_manifest(checkpoint)
        except Corrupt:
            continue
        if manifest["format"] != FORMAT:
            return None, "another jepakit's checkpoints"
        return int(checkpoint.name), ""
    return 0, ""


def read_recipe(path: Path, index: Recipes) -> dict[str, Any]:
    """A ``recipe.yaml`` as plain data; empty if it does not exist or cannot be read."""
    try:
        with _plain(path).open(encoding="utf-8") as file:
            plain = index.read(Source(str(path), file.read(MAX_BYTES), path.parent), [])
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _summary(path: Path) -> dict[str, Any]:
    try:
        with _plain(path).open(encoding="utf-8") as file:
            summary = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return summary if isinstance(summary, dict) and summary.get("status") in ENDED else {}


def _plain(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(path)  # reading a pipe would block, and a device would never end
    return path


def figure(told: dict[str, Any], name: str) -> float | None:
    """A field's value, if it is a number that can be drawn; else None."""
    value = told.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 else None


def whole_number(told: dict[str, Any], name: str) -> int | None:
    """A field's value, if it is a whole number of up to 64 bits; else None."""
    value = told.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _size(folder: str | Path) -> int:
    """Bytes of all files; a link counts as itself."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # it was just removed
                    total += _size(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False).st_size
    except OSError:  # removed, or not readable
        pass
    return total
