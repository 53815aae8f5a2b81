"""Digests of data that a recipe names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jepakit.files.reading import read_bytes, walk
from jepakit.files.writing import digest

RECORDING = "recording.json"  #: holds the checksums of the other files of a recording
_MOST = 64 * 1024**2


def digest_of_data(path: Path) -> str | None:
    """SHA-256 of a folder of data: of the names and contents of all its files, or of a recording's own list of them; None without one."""
    if not path.is_dir():
        return None
    if (path / RECORDING).is_file():
        return hashlib.sha256(read_bytes(path / RECORDING, _MOST)).hexdigest()
    whole = hashlib.sha256()
    for folder, _, names in walk(path):
        for file in (folder / name for name in names):
            if file.is_file():
                whole.update(f"{file.relative_to(path).as_posix()}\n{digest(file)}\n".encode())
    return whole.hexdigest()
