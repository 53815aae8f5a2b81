"""All runs in a folder as they go on. Only what was appended is read anew; no code of a run is executed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jepakit.errors import UserError, shown
from jepakit.report.inventory import ENDED, figure, find_folders, read_recipe, whole_number
from jepakit.report.labels import called
from jepakit.storage.folder import read_summary
from jepakit.storage.lock import is_locked
from jepakit.storage.mirror import Tail
from jepakit.storage.recipes import Recipes

SEARCH_EVERY = 5.0  #: seconds between two searches for new runs, and at least so many times what a search takes:
SEARCH_SHARE = 20
POINTS = 240  #: of a return curve that are kept
SILENT = 60.0  #: seconds without a record after which a running run is called silent
MOST_DAMAGED = 1000  #: lines that are skipped in one look at a file
WARNINGS = ("warning", "collapsed", "recovered", "failed")  #: events that are shown


class Watched:
    """One run: what it has written so far."""

    def __init__(self, path: Path, top: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(top)) if path != top else path.name
        self.recipe: dict[str, Any] = {}
        self.configuration = ""
        self.state = "running"
        self.summary: dict[str, Any] = {}
        self._forget()

    def look(self, index: Recipes) -> None:
        """Read what is new."""
        if not self.recipe:
            self.recipe = read_recipe(self.path / "recipe.yaml", index)
        if _size(self.metrics.path) < self.metrics.offset:  # a resumed run has cut its metrics back to a checkpoint
            self._forget()
        for record in _whole(self.metrics):
            self._take(record)
        for event in _whole(self.events):
            if event.get("event") in WARNINGS:
                self.warning = _told(event)
                self.warned_at = str(event.get("time", ""))[:19]
        locked = is_locked(self.path)
        summary = {} if locked else read_summary(self.path) or {}
        self.summary = summary if summary.get("status") in ENDED else {}
        self.state = "running" if locked else str(self.summary.get("status", "killed"))

    @property
    def env_steps(self) -> int:
        """Env steps so far."""
        return whole_number(self.summary or self.latest, "env_steps") or 0

    @property
    def done(self) -> float | None:
        """Share of the recipe's env steps; None if those are not known."""
        total = whole_number(self.recipe, "total_steps")
        return min(1.0, self.env_steps / total) if total and total > 0 else None

    @property
    def returns(self) -> list[tuple[float, float]]:
        """Env steps and return from the first record to the newest, evenly thinned."""
        return self.kept if self.newest is None or self.newest == self.kept[-1] else [*self.kept, self.newest]

    @property
    def ratio(self) -> float | None:
        """Variance over mean square of the embedding."""
        variance, square = figure(self.latest, "embedding/variance"), figure(self.latest, "embedding/mean_square")
        return variance / square if variance is not None and square else None

    @property
    def silent(self) -> float:
        """Seconds since a running run has written a record; 0 for others."""
        try:
            return max(0.0, time.time() - self.metrics.path.stat().st_mtime) if self.state == "running" else 0.0
        except OSError:
            return 0.0

    def _forget(self) -> None:
        self.metrics = Tail(self.path / "metrics.jsonl", holding=b'"phase": "train"')
        self.events = Tail(self.path / "events.jsonl")
        self.latest: dict[str, Any] = {}
        self.kept: list[tuple[float, float]] = []  #: env steps and return, of every so many train records: at most `POINTS`
        self.records = 0  #: how many had a return
        self.newest: tuple[float, float] | None = None
        self.stride = 1
        self.steps_per_second: float | None = None
        self.warning = self.warned_at = ""

    def _take(self, record: dict[str, Any]) -> None:
        steps, seconds = (figure(record, name) for name in ("env_steps", "wall_s"))
        before = [figure(self.latest, name) for name in ("env_steps", "wall_s")]
        if steps is not None and seconds is not None and before[0] is not None and before[1] is not None and seconds > before[1]:
            self.steps_per_second = (steps - before[0]) / (seconds - before[1])
        self.latest = record
        value = figure(record, "return_last_100")
        if steps is not None and value is not None:
            self.newest = steps, value
            if self.records % self.stride == 0:
                self.kept.append(self.newest)
            self.records += 1
            if len(self.kept) > POINTS:
                self.kept, self.stride = self.kept[::2], 2 * self.stride


class Board:
    """The runs at and below a folder.

    Args:
        folder: The folder.

    Raises:
        UserError: There is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}")
        self.folder = folder
        self.runs: dict[Path, Watched] = {}
        self._search_at = 0.0
        self._index = Recipes()

    def look(self) -> list[Watched]:
        """Read what is new, and return all runs: those that are running first, each part sorted by path.

        New runs, and ended ones that have been resumed, are noticed only every `SEARCH_EVERY` seconds.
        """
        if searched := time.monotonic() >= self._search_at:
            started = time.monotonic()
            found = list(find_folders(self.folder))
            self.runs = {path: self.runs.get(path) or Watched(path, self.folder) for path in found}
            now = time.monotonic()
            self._search_at = now + max(SEARCH_EVERY, SEARCH_SHARE * (now - started))
        known = {path: (bool(run.recipe), run.configuration) for path, run in self.runs.items()}
        for run in self.runs.values():
            if searched or run.state == "running":  # thousands of runs that have ended would keep a shared disk busy
                run.look(self._index)
        self._index.save()
        if any(bool(run.recipe) != known[path][0] for path, run in self.runs.items()):
            self._name()
        return sorted(self.runs.values(), key=lambda run: (run.state != "running", run.path))

    def _name(self) -> None:
        runs = [run for run in self.runs.values() if run.recipe]
        for run, configuration in zip(runs, called([run.recipe for run in runs]), strict=True):
            run.configuration = shown(configuration)


def latest_warnings(runs: Iterable[Watched], most: int) -> list[Watched]:
    """The runs with the newest warnings, the newest first."""
    warned = [run for run in runs if run.warning]
    return sorted(warned, key=lambda run: run.warned_at, reverse=True)[:most]


def _whole(tail: Tail) -> Iterator[dict[str, Any]]:
    """A file's new records; damaged lines are skipped."""
    for _ in range(MOST_DAMAGED):
        try:
            yield from (record for record in tail.read() if isinstance(record, dict))
        except (ValueError, RecursionError):
            continue  # behind the damaged line
        except OSError:
            pass  # the folder has been removed, or cannot be read now
        return


def _told(event: dict[str, Any]) -> str:
    if event["event"] in ("collapsed", "recovered"):
        return shown(f"embedding {event['event']} at {event.get('env_steps')} env steps")
    return shown(str(event.get("text") or event.get("error") or event["event"]), 200)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
