"""Reading the files that a user names, whatever they turn out to be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

MOST = 64 * 1024**2  #: bytes of a file that is read as a whole and is small where all is well


class Unreadable(OSError):
    """A file cannot be read; the message says why, without its name."""


def walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder at ``top`` and below it, with the names of the folders and the files in it, in an order that does not depend on the disk.

    Links are followed, each folder is visited once (links may lead in a circle), hidden ones are left out. A caller that goes no deeper
    clears the list of folders.
    """
    seen: set[str] = set()
    for path, below, files in os.walk(top, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        real = os.path.realpath(path)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield Path(path), below, sorted(files)


def read_bytes(path: Path, most: int) -> bytes:
    """The contents of a file: never waits, as a pipe would, and never goes on for ever, as a device would.

    Args:
        path: The file.
        most: Its bytes at most.

    Raises:
        Unreadable: It is not there, may not be read, is no file, or is too long.
    """
    try:
        # Not blocking: to open a pipe is to wait for someone who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            status = os.fstat(descriptor)
            regular = stat.S_ISREG(status.st_mode)
            if not (regular or stat.S_ISDIR(status.st_mode)):
                raise Unreadable("it is no file, but a device or a pipe")
            if regular and status.st_size > most:
                raise Unreadable(_too_long(most))
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # a ValueError of names that no file has
        raise Unreadable((error.strerror if isinstance(error, OSError) else None) or str(error)) from error
    if len(content) > most:  # of those that do not know their size
        raise Unreadable(_too_long(most))
    return content


def read_text(path: Path, most: int = MOST) -> str:
    """The same as text.

    Raises:
        Unreadable: It cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_bytes(path, most).decode()


def _too_long(most: int) -> str:
    return f"more than {most:_} bytes"
