"""The recipes that ship with jepakit."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_recipes() -> dict[str, Path]:
    """The files of the shipped recipes by name: ``cartpole_pixels``, ``paper/figure3``."""
    folder = Path(str(resources.files("jepakit"))) / "recipes"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
