"""The folder of a run as all ranks but the first have it: they read it, and write nothing."""

from __future__ import annotations

from typing import Any

from jepakit.recipe import Recipe
from jepakit.storage.folder import RunFolder


class WrittenElsewhere(RunFolder):
    """A run's folder that another process writes: records end here."""

    def metric(self, phase: str, **record: Any) -> None:
        """Write nothing."""

    def event(self, event: str, **record: Any) -> None:
        """Write nothing."""

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write nothing."""

    def write_recipe(self, recipe: Recipe) -> None:
        """Write nothing."""

    def metrics_bytes(self) -> int:
        """0: no file is open."""
        return 0

    def go_on_from(self, metrics_bytes: int, wall_s: float) -> int:
        """Cut nothing."""
        return 0
