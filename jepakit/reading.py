"""Reading the files that a user names, whatever they turn out to be."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Unreadable(Exception):
    """A file cannot be read; the message says why, without its name."""


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
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise Unreadable("it is no file, but a device or a pipe")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(most + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # a ValueError of names that no file has
        raise Unreadable((error.strerror if isinstance(error, OSError) else None) or str(error)) from error
    if len(content) > most:
        raise Unreadable(f"more than {most:_} bytes")
    return content
