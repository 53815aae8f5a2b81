"""What is there already of a planned run: finished, recorded, half done, or run by another process right now."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from jepakit.errors import UserError
from jepakit.recipe import Recipe, dump
from jepakit.recipe.errors import Source
from jepakit.recipe.schema import besides_results
from jepakit.recipe.yaml12 import read_yaml
from jepakit.report.record import find_record, read_record
from jepakit.sweep.plan import Planned
from jepakit.training.folder import read_summary, refuse_taken
from jepakit.training.run import ENDED_AS_MEANT

State = Literal["new", "finished", "recorded", "unfinished", "elsewhere"]
BESIDES = besides_results(Recipe)
SECONDS_TO_START = 60.0  #: for which a folder without a process id is taken to be of a run that starts


@dataclass(frozen=True)
class Found:
    """A planned run's state, and where it is."""

    state: State
    path: Path  #: its folder or its record
    summary: dict[str, Any] | None = None  #: of a finished or recorded one


def find_run(run: Planned, folder: Path, recorded: Sequence[Path] = ()) -> Found:
    """Look for a run.

    Args:
        run: The run.
        folder: Where it is, or would be.
        recorded: Folders of records.

    Raises:
        UserError: What is there under its id is another run, or no run at all.
    """
    summary = read_summary(folder)
    if summary and summary["status"] in ENDED_AS_MEANT:
        _agree(run, _stored_recipe(folder), folder)
        return Found("finished", folder, summary)
    if record := find_record(recorded, run.id):
        held = read_record(record)
        _agree(run, held.recipe, record)
        return Found("recorded", record, held.summary)
    if not (folder / "events.jsonl").exists():
        refuse_taken(folder)
        return Found("new", folder)
    return Found("unfinished" if summary or not is_alive(folder) else "elsewhere", folder)


def _agree(run: Planned, stored: Any, where: Path) -> None:
    """An id leaves out what is a default, and defaults may change from one jepakit to the next: the values decide."""
    differences = list(_differences(_plain(dump(run.recipe)), stored, ""))
    if differences:
        wrong = f"{where} has the id of `{run.label}`, seed {run.seed}, but other values: {'; '.join(differences)}"
        raise UserError(
            f"{wrong}\n    another version of jepakit made it, or it was edited: leave it out, or name another folder with --out"
        )


def _stored_recipe(folder: Path) -> Any:
    try:
        return _plain((folder / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {folder / 'recipe.yaml'}: {error}") from None


def _plain(text: str) -> Any:
    node = read_yaml(Source("recipe.yaml", text, Path()), [])
    return node.plain() if node else None


def _differences(planned: Any, stored: Any, path: str) -> Iterator[str]:
    """What two recipes say differently, among the fields that both have."""
    if isinstance(planned, dict) and isinstance(stored, dict):
        for name in planned:
            if name in stored and (path or name not in BESIDES):
                yield from _differences(planned[name], stored[name], f"{path}.{name}".lstrip("."))
    elif isinstance(planned, list) and isinstance(stored, list) and len(planned) == len(stored):
        for index, (mine, theirs) in enumerate(zip(planned, stored, strict=True)):
            yield from _differences(mine, theirs, f"{path}.{index}")
    elif planned != stored:
        yield f"`{path}` is {json.dumps(stored)} there and {json.dumps(planned)} here"


def is_alive(folder: Path) -> bool:
    """Whether the process whose run is in a folder may still run; of one on another host nothing is known."""
    events = folder / "events.jsonl"
    if not events.exists():
        return False
    start = _start_event(events)
    if start is None:
        return time.time() - events.stat().st_mtime < SECONDS_TO_START
    if start.get("host", platform.node()) != platform.node():
        return True
    try:
        os.kill(start["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but alive
    # Process ids come round again: a process that is younger than the run is another one.
    began = _began(start["pid"])
    return began is None or began <= datetime.fromisoformat(start["time"]).timestamp() + 2


def _start_event(events: Path) -> dict[str, Any] | None:
    """The newest ``start`` in ``events.jsonl``."""
    found = None
    for line in events.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # half a line
        if record.get("event") == "start":
            found = record
    return found


def _began(pid: int) -> float | None:
    """When a process began, where Linux tells."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line.split()[1] for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
