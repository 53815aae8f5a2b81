"""Files that are whole or not there, and known to be what they were; and disks that have no room for them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


class DiskFull(OSError):
    """There is no room for a file; the message says what it needed."""


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` beside ``path``, then rename."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)  # it may be a link, in a folder that a stranger has packed
    try:
        partial.write_text(text, encoding="utf-8")
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


@contextmanager
def needing(size: int, what: str, folder: Path, partial: Path | None = None) -> Iterator[None]:
    """Say what was needed where there is no room for it.

    Args:
        size: The bytes of all that is written inside.
        what: Names it in the message.
        folder: Where it is written.
        partial: A file or folder to take away where it could not be written as a whole.

    Raises:
        DiskFull: There was no room.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _no_room(error):
            raise
        if partial:
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
        raise DiskFull(f"no room left in {folder}: {what} needs {readable(size)}, {readable(free)} are free") from error


def _no_room(error: OSError | SafetensorError) -> bool:
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError):
        return error.errno in numbers
    return any(f"(os error {number})" in str(error) for number in numbers)  # safetensors writes by itself


def readable(size: float) -> str:
    """A number of bytes, such as ``1.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def to_disk(path: Path) -> None:
    """Bring a file, or a folder's list of names, beyond the operating system's memory: a machine that dies takes nothing with it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
