"""The state of a planned run on disk: new, finished, recorded, unfinished, broken, or held by another process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jepakit.errors import UserError
from jepakit.files.reading import read_text
from jepakit.files.writing import digest
from jepakit.recipe import Recipe, dump
from jepakit.recipe.errors import Source
from jepakit.recipe.identity import data_read, files_read, source_digests
from jepakit.recipe.schema import besides_results
from jepakit.recipe.yaml12 import read_yaml
from jepakit.report.inventory import resumes_at
from jepakit.report.record import find_record, read_record
from jepakit.storage.folder import plugin_copies, read_provenance, read_summary, refuse_taken
from jepakit.storage.lock import is_locked
from jepakit.storage.provenance import code_was_edited
from jepakit.sweep.plan import Planned
from jepakit.training.run import ENDED_AS_MEANT

OTHER_CODE = "holds a run of other code: a module of yours was edited after a sweep had planned the run"
State = Literal["new", "finished", "recorded", "unfinished", "broken", "elsewhere"]
BESIDES = besides_results(Recipe)
WATCHING = BESIDES - {"name", "case", "plugins", "sweep", "processes"}  #: what is recorded, measured and kept of a run


@dataclass(frozen=True)
class Found:
    """A planned run's state and location."""

    state: State
    path: Path  #: its folder or its record
    summary: dict[str, Any] | None = None  #: the content of ``summary.json``, if the run has finished
    why: str = ""  #: why a broken run cannot be resumed
    case: str | None = None  #: the name of the case that it was trained as
    watched: Mapping[str, Any] = field(default_factory=dict)  #: its own values of the `WATCHING` fields that differ from the planned ones


def find_run(run: Planned, folder: Path, recorded: Sequence[Path] = ()) -> Found:
    """Look for a run in its folder and among the records.

    Args:
        run: The run.
        folder: The run's folder, which may not exist yet.
        recorded: Folders of records.

    Raises:
        UserError: The folder or the record with this id holds another run, or no run.
    """
    summary = read_summary(folder)
    if summary and summary["status"] in ENDED_AS_MEANT:
        watched = _agree(run, stored := _stored_recipe(folder), folder)
        _agree_on_code(run, folder)
        return Found("finished", folder, summary, case=stored.get("case"), watched=watched)
    if record := find_record(recorded, run.id):
        held = read_record(record)
        watched = _agree(run, held.recipe, record)
        return Found("recorded", record, held.summary, case=held.recipe.get("case"), watched=watched)
    if is_locked(folder):
        return Found("elsewhere", folder)
    if not (folder / "events.jsonl").exists():
        refuse_taken(folder)
        return Found("new", folder)
    begins_at, why = resumes_at(folder)
    if begins_at is None:
        return Found("broken", folder, why=why)
    stored = _stored_recipe(folder)
    if not isinstance(stored, dict):
        return Found("broken", folder, why="its recipe.yaml cannot be read")
    watched = _agree(run, stored, folder)
    _agree_on_plugins(run, folder)
    return Found("unfinished", folder, case=stored.get("case"), watched=watched)


def _agree(run: Planned, stored: Any, where: Path) -> dict[str, Any]:
    """Refuse a stored run with other values. An id leaves out defaults, and these may change between versions of jepakit.

    Returns:
        Its values of the `WATCHING` fields that differ from the planned ones.
    """
    planned = _plain(dump(run.recipe))
    besides = (
        BESIDES | files_read(run.recipe).keys() | data_read(run.recipe).keys()
    )  # a run has its own copies of files of weights; their contents are in the id
    differences = list(_differences(planned, stored, "", besides))
    if differences:
        wrong = f"{where} has the id of `{run.label}`, seed {run.seed}, but other values: {'; '.join(differences)}"
        raise UserError(f"{wrong}\n    another version of jepakit made it, or it was edited: remove it, or name another folder with --out")
    return {name: stored[name] for name in sorted(WATCHING) if name in stored and any(_differences(planned[name], stored[name], "", set()))}


def _agree_on_code(run: Planned, folder: Path) -> None:
    """Refuse a run that other code has trained than its folder's name stands for. Between versions of jepakit the id alone may differ."""
    began = read_provenance(folder)
    if began.get("id") not in (None, run.id) and code_was_edited(began, source_digests(run.recipe)):
        raise UserError(f"{folder} {OTHER_CODE}: remove it, or name another folder with --out")


def _agree_on_plugins(run: Planned, folder: Path) -> None:
    """Refuse a folder whose copies of plug-ins were edited: a resume would run them."""
    for copy, plugin in plugin_copies(folder, run.recipe):
        if not copy.is_file() or digest(copy) != plugin.digest:
            raise UserError(f"{copy} is not the plug-in `{plugin.name}`: it was edited; name another folder with --out")


def _stored_recipe(folder: Path) -> Any:
    try:
        return _plain(read_text(folder / "recipe.yaml"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {folder / 'recipe.yaml'}: {error}") from None


def _plain(text: str) -> Any:
    node = read_yaml(Source("recipe.yaml", text, Path()), [])
    return node.plain() if node else None


def _differences(planned: Any, stored: Any, path: str, besides: Set[str]) -> Iterator[str]:
    """The values in which two recipes differ, among the fields that both have; those at the paths ``besides`` may differ."""
    if path in besides:
        return
    if isinstance(planned, dict) and isinstance(stored, dict):
        for name in planned:
            if name in stored:
                yield from _differences(planned[name], stored[name], f"{path}.{name}".lstrip("."), besides)
    elif isinstance(planned, list) and isinstance(stored, list) and len(planned) == len(stored):
        for index, (mine, theirs) in enumerate(zip(planned, stored, strict=True)):
            yield from _differences(mine, theirs, f"{path}.{index}", besides)
    elif planned != stored:
        yield f"`{path}` is {json.dumps(stored)} there and {json.dumps(planned)} here"
