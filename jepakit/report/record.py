"""Records: a `Run` as one small JSON file, to keep under version control when the run's folder is gone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jepakit.errors import UserError
from jepakit.files.writing import write_atomically
from jepakit.report.runs import Run, read_record

__all__ = ["find_record", "read_record", "write_record"]


def write_record(run: Run, folder: Path) -> Path:
    """Write ``<id>.json``. The same run gives the same bytes.

    Raises:
        UserError: The folder cannot be written to.
    """
    curves = {metric: [_plain(value) for value in curve.tolist()] for metric, curve in run.curves.items()}
    path = folder / f"{run.id}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _dumped(vars(run) | {"curves": curves}) + "\n")
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror}") from None
    return path


def find_record(folders: Iterable[Path], run_id: str) -> Path | None:
    """The record with this id, at any depth of one of the folders; None if there is none."""
    return next((path for folder in folders for path in sorted(folder.rglob(f"{run_id}.json"))), None)


def _plain(value: float) -> float | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else value


def _dumped(content: dict[str, Any], depth: int = 0) -> str:
    """JSON with sorted keys and one line per field, so that a diff of two records is readable and curves stay short."""
    margin = " " * (depth + 1)
    entries = []
    for name, value in sorted(content.items()):
        nested = isinstance(value, dict) and value and depth == 0
        text = _dumped(value, depth + 1) if nested else json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
        entries.append(f"{margin}{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n" + " " * depth + "}"
