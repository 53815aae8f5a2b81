"""Shell completion of recipes, slots, kinds and runs. It reads names from files and imports no component."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
JOBS = "jobs"  #: the folder of a sweep's jobs, whose recipes are no runs
_REGISTERED = re.compile(r'^@register\("(\w+)", "(\w+)"\)', re.MULTILINE)


def recipes(incomplete: str) -> list[str]:
    """Names of shipped recipes and paths of YAML files that begin with ``incomplete``."""
    folder = _PACKAGE / "recipes"
    shipped = [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.rglob("*.yaml"))]
    return [name for name in shipped if name.startswith(incomplete)] + _paths(incomplete, "*.yaml")


def slots(incomplete: str) -> list[str]:
    """Slots that begin with ``incomplete``."""
    return sorted({slot for slot, _ in _kinds() if slot.startswith(incomplete)})


def kinds(ctx: Any, incomplete: str) -> list[str]:
    """Built-in kinds that begin with ``incomplete``, of the slot typed before it."""
    slot = ctx.params.get("slot")
    return sorted({kind for of, kind in _kinds() if slot in (None, of) and kind.startswith(incomplete)})


def runs(incomplete: str) -> list[str]:
    """Run folders below ``runs``, or below the folder typed so far."""
    start = Path(incomplete or "runs")
    top = start if start.is_dir() else start.parent
    folders = [path.parent for depth in ("*", "*/*", "*/*/*") for path in top.glob(f"{depth}/recipe.yaml")]
    found = {folder.as_posix() for folder in folders if folder.parent.name != JOBS}
    return sorted(name for name in found if name.startswith(incomplete))


def _kinds() -> Iterator[tuple[str, str]]:
    for file in sorted((_PACKAGE / "components").rglob("*.py")):
        for match in _REGISTERED.finditer(file.read_text(encoding="utf-8")):
            yield match[1], match[2]


def _paths(incomplete: str, pattern: str) -> list[str]:
    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    return [path.as_posix() for path in sorted(folder.glob(pattern)) if path.as_posix().startswith(incomplete)]
