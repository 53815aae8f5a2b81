"""Reading files that a user names and nobody has checked."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

MOST = 64 * 1024**2  #: bytes; the limit for files that are normally small and are read whole


class Unreadable(OSError):
    """A file cannot be read. The message says why and leaves out the file's name."""


def walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder at and below ``top`` with its folder names and file names, in an order that does not depend on the disk.

    Links are followed; each folder is visited once, even if links form a circle; hidden folders are skipped. A caller stops the descent
    by clearing the list of folders. A folder that cannot be read is left out with a warning.
    """
    seen: set[str] = set()
    for path, below, files in os.walk(top, onerror=_left_out, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        real = os.path.realpath(path)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield Path(path), below, sorted(files)


def _left_out(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):  # one removed meanwhile is no folder of anybody
        warnings.warn(f"left out: can't read {error.filename!r}: {error.strerror}", stacklevel=3)


def read_bytes(path: Path, most: int) -> bytes:
    """The contents of a regular file. Pipes, which block, and devices, which never end, are refused.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        Unreadable: The file does not exist, is not readable, is not a regular file, or is too long.
    """
    try:
        # O_NONBLOCK: opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            regular = stat.S_ISREG(status.st_mode)
            if not (regular or stat.S_ISDIR(status.st_mode)):
                raise Unreadable("it is a device or a pipe, not a file")
            if regular and status.st_size > most:
                raise Unreadable(_too_long(most))
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise Unreadable((error.strerror if isinstance(error, OSError) else None) or str(error)) from error
    if len(content) > most:  # the file's reported size was too small
        raise Unreadable(_too_long(most))
    return content


def read_text(path: Path, most: int = MOST) -> str:
    """The contents of a regular file as text, read as `read_bytes` does.

    Raises:
        Unreadable: The file cannot be read.
        UnicodeDecodeError: The file is not UTF-8.
    """
    return read_bytes(path, most).decode()


def _too_long(most: int) -> str:
    return f"more than {most:_} bytes"
