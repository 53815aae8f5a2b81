"""Digests of data that a recipe names."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from jepakit.files.reading import read_bytes, walk
from jepakit.files.writing import digest

RECORDING = "recording.json"  #: holds the checksums of the other files of a recording
_MOST = 64 * 1024**2


def digest_of_data(path: Path) -> str | None:
    """SHA-256 of a folder of data: of the names and contents of all its files, or of a recording's own list of them; None without one.

    Hashing takes long, so a process reads the files again only if the folder or one of them has changed since.
    """
    if not path.is_dir():
        return None
    if (path / RECORDING).is_file():
        return hashlib.sha256(read_bytes(path / RECORDING, _MOST)).hexdigest()
    files = (folder / name for folder, _, names in walk(path) for name in names)
    return _digest_of_files(path, tuple(_File.at(file, path) for file in files if file.is_file()))


class _File(NamedTuple):
    """A file's name in its folder, and what differs once it is another file or has been written to."""

    name: str
    place: tuple[int, int]
    size: int
    changed: tuple[int, int]

    @classmethod
    def at(cls, path: Path, folder: Path) -> _File:
        now = path.stat()
        times = now.st_mtime_ns, now.st_ctime_ns
        return cls(path.relative_to(folder).as_posix(), (now.st_dev, now.st_ino), now.st_size, times)


@lru_cache(maxsize=16)
def _digest_of_files(folder: Path, files: tuple[_File, ...]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name}\n{digest(folder / file.name)}\n".encode())
    return whole.hexdigest()
