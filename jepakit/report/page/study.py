"""The runs of a report: configurations, their runs, and all that these have recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepakit.errors import UserError, shown
from jepakit.report.curves.history import Array, History, history_of, read_history, read_newest_list
from jepakit.report.labels import Configuration, group
from jepakit.report.runs import Run, load_placed

MOST_RUNS = 200
LONGEST_LABEL = 120


@dataclass(frozen=True, eq=False)
class Member:
    """One run."""

    run: Run
    folder: Path | None  #: None if there is only a record of it
    history: History
    spectrum: Array | None  #: shares of the variance of s_x by direction at the end, largest first


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one configuration, ordered by seed."""

    index: int  #: its colour and its dashes
    label: str
    configuration: Configuration
    members: tuple[Member, ...]

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe of its first run."""
        return self.members[0].run.recipe

    @property
    def representative(self) -> Member | None:
        """Of the runs whose folders are here, the one with the middle final return."""
        here = [member for member in self.members if member.folder]
        here.sort(key=lambda member: member.run.summary["return_last_100"] or 0.0)
        return here[len(here) // 2] if here else None


@dataclass(frozen=True, eq=False)
class Study:
    """All that a report shows."""

    groups: tuple[Group, ...]

    @property
    def members(self) -> list[Member]:
        """All runs."""
        return [member for group in self.groups for member in group.members]

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs that have one here."""
        return [member.folder for member in self.members if member.folder]


def load_study(paths: Sequence[str | Path]) -> Study:
    """The finished runs at and below ``paths``, folders and records.

    Raises:
        UserError: A path does not exist, a file is corrupt, there is no finished run, or there are more than `MOST_RUNS`.
    """
    placed = load_placed(paths)
    if len(placed) > MOST_RUNS:
        raise UserError(f"{len(placed)} runs are too many for one page, which shows up to {MOST_RUNS}: name fewer")
    members = {run.id: _member(run, place) for run, place in placed}
    configurations = group([run for run, _ in placed])
    return Study(
        tuple(
            Group(index, shown(found.label, LONGEST_LABEL), found, tuple(members[run.id] for run in found.runs))
            for index, found in enumerate(configurations)
        )
    )


def _member(run: Run, place: Path) -> Member:
    if not place.is_dir():
        return Member(run, None, history_of(run), None)
    return Member(run, place, read_history(place), read_newest_list(place, "spectrum/shares"))
