"""The progress of a planned run, read from its ``metrics.jsonl``, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jepakit.report.inventory import newest_record
from jepakit.sweep.found import Found
from jepakit.sweep.plan import Planned

RunState = Literal["waiting", "running", "finished", "recorded", "failed", "interrupted", "pruned", "elsewhere"]


@dataclass
class Watched:
    """A run of a sweep in progress."""

    planned: Planned
    state: RunState
    path: Path  #: its folder or its record
    fresh: bool = True  #: False if it had finished before this sweep began
    latest: dict[str, Any] = field(default_factory=dict)  #: the newest train record
    summary: dict[str, Any] = field(default_factory=dict)  #: the content of ``summary.json``; empty until the run has finished
    error: str = ""  #: why it failed
    log: Path | None = None  #: the traceback, or else the run's output

    @classmethod
    def of(cls, planned: Planned, found: Found) -> Watched:
        """The run in the state in which it was found."""
        if found.state in ("new", "unfinished", "broken"):
            waiting = cls(planned, "waiting", found.path)
            if found.state == "unfinished":
                waiting.follow()
            return waiting
        return cls(planned, found.state, found.path, fresh=False, summary=found.summary or {})  # type: ignore[arg-type]

    def follow(self) -> None:
        """Read the newest train record. A resume first cuts ``metrics.jsonl`` back to the checkpoint."""
        self.latest = newest_record(self.path / "metrics.jsonl") or self.latest

    @property
    def total_steps(self) -> int:
        """Env steps to train for."""
        return self.planned.recipe.total_steps

    @property
    def steps(self) -> int:
        """Env steps so far; ``total_steps`` once the run has finished."""
        return self.total_steps if self.summary else min(int(self.latest.get("env_steps", 0)), self.total_steps)

    @property
    def steps_per_second(self) -> float | None:
        """Env steps per second, averaged over the run so far."""
        return self.latest["env_steps"] / max(self.latest["wall_s"], 1e-9) if self.latest else self.summary.get("steps_per_second")

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at that speed; None unless the run is running."""
        return (self.total_steps - self.steps) / self.steps_per_second if self.state == "running" and self.steps_per_second else None

    @property
    def return_last_100(self) -> float | None:
        """The newest mean return of the last 100 episodes."""
        return self.summary.get("return_last_100") if self.summary else self.latest.get("return_last_100")

    @property
    def variance(self) -> float | None:
        """The newest embedding variance."""
        return self.summary.get("embedding_variance") if self.summary else self.latest.get("embedding/variance")
