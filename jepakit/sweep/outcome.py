"""How each run of a sweep has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jepakit.sweep.plan import Planned
from jepakit.sweep.table import figure
from jepakit.sweep.watched import RunState


@dataclass(frozen=True, repr=False)
class Outcome:
    """The state of a planned run when the sweep ends."""

    planned: Planned
    state: RunState  #: ``waiting``: the sweep was interrupted before the run started
    path: Path  #: its folder or its record
    summary: dict[str, object]  #: the content of ``summary.json``; empty unless the run has finished
    fresh: bool  #: False if the run had finished before this sweep began
    error: str = ""  #: why it failed
    log: Path | None = None  #: a failed run's traceback, or else its output

    def __repr__(self) -> str:
        """One line: a planned run holds its whole recipe."""
        value = self.summary.get("return_last_100")
        more = f", return {figure(value)}" if isinstance(value, float) else f", {self.error}" if self.error else ""
        return f"<{self.planned.label!r} seed {self.planned.seed}: {self.state}{more}, {self.path}>"
