"""Finds the file that would register an unknown kind, so that the message can name it. No file is imported."""

from __future__ import annotations

import re
from pathlib import Path

from jepakit.files.reading import Unreadable, read_bytes

MAX_FILES = 200  #: of one folder
MAX_BYTES = 1024**2


def file_registering(slot: str, kind: str, folder: Path) -> Path | None:
    """The Python file in ``folder`` that holds ``register("<slot>", "<kind>")``; None if there is none."""
    written = re.compile(rf"""register\(\s*(["']){re.escape(slot)}\1\s*,\s*(["']){re.escape(kind)}\2""")
    try:
        files = sorted(folder.glob("*.py"))[:MAX_FILES]
    except OSError:
        return None
    for file in files:
        try:
            if written.search(read_bytes(file, MAX_BYTES).decode(errors="replace")):
                return file
        except Unreadable:
            continue
    return None
