"""A sink of your own: shows a run's metrics in another tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepakit import register

if TYPE_CHECKING:
    from jepakit import MirroredRun


@register("sink", "my_component")
class MyComponent:
    """A text file of one metric, a line of env steps and value for each record.

    Args:
        metric: Its name in ``metrics.jsonl``.
    """

    def __init__(self, folder: Path, *, metric: str = "episode_return") -> None:
        self.path = folder / "my_component.txt"  # `folder` is RUN/sinks; the constructor writes nothing
        self.metric = metric

    def begin(self, run: MirroredRun) -> int:
        """Open the file; returns the env steps up to which it holds all records."""
        kept = []
        if self.path.exists():  # records after `run.held` come again
            kept = [line for line in self.path.read_text().splitlines() if int(line.split()[0]) <= run.held]
        self.path.write_text("".join(f"{line}\n" for line in kept))
        self.file = self.path.open("a")
        return run.held if kept else 0

    def metrics(self, record: Mapping[str, float], env_steps: int, time: float) -> None:
        """Take the numbers of one record, by name."""
        if self.metric in record:
            self.file.write(f"{env_steps} {record[self.metric]}\n")

    def event(self, record: Mapping[str, Any]) -> None:
        """Take a verdict on the embedding: ``collapsed`` or ``recovered``."""

    def flush(self) -> dict[str, Any]:
        """Write everything out; what it returns is ``run.state`` when the run is continued."""
        self.file.flush()
        return {}

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close; ``summary`` is the content of ``summary.json``."""
        self.file.close()
