"""Runs to draw, in any state: their folders, or records. No code of a run is executed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jepakit.errors import UserError, shown
from jepakit.files.reading import read_text
from jepakit.report.curves.history import History, history_of, read_history
from jepakit.report.inventory import name_of, read_recipe, whole_number
from jepakit.report.labels import called
from jepakit.report.runs import find_runs, read_record
from jepakit.storage.folder import read_summary
from jepakit.storage.lock import is_locked
from jepakit.storage.recipes import Recipes

MOST_EVENTS = 100  #: collapses and recoveries that are kept
MOST_RUNS = 100
LONGEST = 240  #: characters of a label


@dataclass(frozen=True, eq=False)
class Recorded:
    """What one run has recorded so far."""

    path: Path
    name: str
    seed: int | None
    state: str  #: as in `jepakit runs`
    total_steps: int | None
    verdicts: tuple[tuple[str, int], ...]  #: ``collapsed`` and ``recovered``, each with its env steps
    history: History
    recipe: dict[str, Any]
    id: str | None  #: None as long as it has no summary
    label: str = ""  #: what sets it apart from the other runs

    @property
    def env_steps(self) -> int:
        """Env steps of its newest record."""
        return int(max(series.env_steps[-1] for series in self.history.values()))

    @property
    def title(self) -> str:
        """Name, case, seed, state and progress."""
        case = f", {shown(case)}" if isinstance(case := self.recipe.get("case"), str) else ""
        seed = f"{case}" if self.seed is None else f"{case}, seed {self.seed}"
        of = f" of {self.total_steps:,}" if self.total_steps and self.total_steps > self.env_steps else ""
        return f"{self.name}{seed}: {self.state}, {self.env_steps:,}{of} env steps"


def load_recorded(paths: Sequence[str | Path]) -> list[Recorded]:
    """The runs at and below ``paths`` that have recorded something, in any state, each once and with a label.

    Raises:
        UserError: A path does not exist, a file is corrupt, no run has recorded anything, or there are more than `MOST_RUNS`.
    """
    places = {place.resolve(): place for path in paths for place in find_runs(Path(path))}
    if len(places) > MOST_RUNS:
        raise UserError(f"{len(places)} runs are too many for one figure, which shows up to {MOST_RUNS}: name fewer")
    index = Recipes()
    runs = [_folder(place, index) if place.is_dir() else _record(place) for place in places.values() if _has_begun(place)]
    index.save()
    in_folders = {run.id for run in runs if run.path.is_dir()} - {None}
    runs = [run for run in runs if run.history and (run.path.is_dir() or run.id not in in_folders)]
    if not runs:
        raise UserError(f"no run in {', '.join(map(str, paths))} has recorded anything yet")
    return _labelled(runs)


def _has_begun(place: Path) -> bool:
    return not place.is_dir() or (place / "metrics.jsonl").exists()


def _folder(path: Path, index: Recipes) -> Recorded:
    recipe = read_recipe(path / "recipe.yaml", index)
    summary = read_summary(path) or {"status": "killed"}
    state = "running" if is_locked(path) else str(summary["status"])
    steps = whole_number(recipe, "total_steps")
    return Recorded(
        path,
        name_of(recipe),
        whole_number(recipe, "seed"),
        shown(state),
        steps,
        _verdicts(path / "events.jsonl"),
        read_history(path),
        recipe,
        summary.get("id"),
    )


def _record(path: Path) -> Recorded:
    run = read_record(path)
    at = run.summary.get("collapsed_at")
    verdicts = (("collapsed", at),) if run.summary["collapsed"] and isinstance(at, int) else ()
    steps = run.recipe["total_steps"]
    return Recorded(path, name_of(run.recipe), run.seed, shown(run.summary["status"]), steps, verdicts, history_of(run), run.recipe, run.id)


def _verdicts(events: Path) -> tuple[tuple[str, int], ...]:
    """What the collapse watch said; nothing of a file that cannot be read, and of a line that is no event."""
    try:
        lines = read_text(events).splitlines()
    except (OSError, ValueError):
        return ()
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and event.get("event") in ("collapsed", "recovered") and isinstance(event.get("env_steps"), int):
            found.append((event["event"], event["env_steps"]))
    return tuple(found[:MOST_EVENTS])


def _labelled(runs: Sequence[Recorded]) -> list[Recorded]:
    cases = called([run.recipe for run in runs])
    labels = [
        ", ".join(filter(None, [case or run.name, "" if run.seed is None else f"seed {run.seed}"]))
        for case, run in zip(cases, runs, strict=True)
    ]
    often = Counter(labels)
    return [
        replace(run, label=shown(label if often[label] == 1 else f"{label} ({run.path.name})", LONGEST))
        for run, label in zip(runs, labels, strict=True)
    ]
