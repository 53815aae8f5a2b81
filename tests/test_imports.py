"""Imports run one way, as docs/architecture.md says: who reads a file need not know what lies above it."""

from __future__ import annotations

import ast
from pathlib import Path

import jepakit
from jepakit.registry import SLOTS

ROOT = Path(jepakit.__file__).parent
LAYERS = [
    {"errors", "docstrings", "files", "reading"},
    {"signature", "protocols"},
    {"registry", "following", "diagnostics"},
    {"components", "plugins"},
    {"recipe"},
    {"training"},
    {"report", "testing"},
    {"sweep"},
    {"cli"},
]
COMPONENTS = {f"{slot}s" for slot in SLOTS} - {"auxiliarys"} | {"auxiliaries"}


def imported(file: Path) -> set[str]:
    """The parts of jepakit that a file imports, within functions, too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("jepakit."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("jepakit.")}
    return found


def layer(part: str) -> int:
    return next(rank for rank, parts in enumerate(LAYERS) if ("components" if part in COMPONENTS else part) in parts)


def test_imports_run_one_way_and_components_know_no_other_slots() -> None:
    wrong = []
    parts = 0
    for file in ROOT.rglob("*.py"):
        place = file.relative_to(ROOT)
        part = place.parts[0].removesuffix(".py")
        if part in {"__init__", "__main__", "templates", "recipes"}:
            continue
        parts += 1
        for other in imported(file) - {part, "templates"}:
            if layer(other) > layer(part) or {part, other} <= COMPONENTS:
                wrong.append(f"{place} imports {other}")
    assert not wrong
    assert parts > 100
