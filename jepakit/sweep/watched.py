"""A planned run as it stands: what its ``metrics.jsonl`` has told so far, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jepakit.report.inventory import newest_record
from jepakit.sweep.found import Found
from jepakit.sweep.plan import Planned

RunState = Literal["waiting", "running", "finished", "recorded", "failed", "interrupted", "elsewhere"]


@dataclass
class Watched:
    """A run of a sweep while the sweep is going on."""

    planned: Planned
    state: RunState
    path: Path  #: its folder or its record
    fresh: bool = True  #: False: it had ended before this sweep began
    latest: dict[str, Any] = field(default_factory=dict)  #: the newest train record
    summary: dict[str, Any] = field(default_factory=dict)  #: once it has ended as meant
    error: str = ""  #: why it failed
    log: Path | None = None  #: the traceback, or all that the run has printed

    @classmethod
    def of(cls, planned: Planned, found: Found) -> Watched:
        """As it was found."""
        if found.state in ("new", "unfinished", "broken"):
            waiting = cls(planned, "waiting", found.path)
            if found.state == "unfinished":
                waiting.follow()
            return waiting
        return cls(planned, found.state, found.path, fresh=False, summary=found.summary or {})  # type: ignore[arg-type]

    def follow(self) -> None:
        """Read the end of ``metrics.jsonl``, which a resume cuts back first."""
        self.latest = newest_record(self.path / "metrics.jsonl") or self.latest

    @property
    def total_steps(self) -> int:
        """Env steps that it is to make."""
        return self.planned.recipe.total_steps

    @property
    def steps(self) -> int:
        """Env steps that it has made; all of them once it has ended as meant."""
        return self.total_steps if self.summary else min(int(self.latest.get("env_steps", 0)), self.total_steps)

    @property
    def steps_per_second(self) -> float | None:
        """Over the run so far."""
        return self.latest["env_steps"] / max(self.latest["wall_s"], 1e-9) if self.latest else self.summary.get("steps_per_second")

    @property
    def seconds_left(self) -> float | None:
        """At that speed."""
        return (self.total_steps - self.steps) / self.steps_per_second if self.state == "running" and self.steps_per_second else None

    @property
    def return_last_100(self) -> float | None:
        """The newest."""
        return self.summary.get("return_last_100") if self.summary else self.latest.get("return_last_100")

    @property
    def variance(self) -> float | None:
        """The newest embedding variance."""
        return self.summary.get("embedding_variance") if self.summary else self.latest.get("embedding/variance")
