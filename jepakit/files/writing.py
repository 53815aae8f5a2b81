"""Atomic writes, checksums, and full disks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  #: a full disk, a full quota, and `ulimit -f`


class DiskFull(OSError):
    """The disk is full. The message says how much room was needed."""


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to a new file beside ``path``, then rename it to ``path``. Of processes that do so at once, the last one wins."""
    partial = partial_of(path)
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def partial_of(path: Path) -> Path:
    """A new name beside ``path`` for what will be renamed to it once it is whole; no other process has it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def partials(path: Path) -> Iterator[Path]:
    """The `partial_of` ``path`` that are there, such as `write_atomically` may have left when its process was killed."""
    return path.parent.glob(f".{path.name}.*.partial")


def variant(name: str, changes: Sequence[object]) -> str:
    """The name of a file that was made with changes: ``eval-0123456789.json`` for ``eval.json``, and the same for the same changes."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-{hashlib.sha256(json.dumps([*changes]).encode()).hexdigest()[:10]}{dot}{ending}" if changes else name


@contextmanager
def needing(size: int, what: str, folder: Path, partial: Path | None = None) -> Iterator[None]:
    """Turn "no space left" inside the block into a `DiskFull` that says how much room was needed.

    Args:
        size: Bytes that the block writes.
        what: What it writes, for the message.
        folder: The folder that it writes to.
        partial: A file or folder to remove if the disk is full.

    Raises:
        DiskFull: The disk is full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _no_room(error):
            raise
        if partial:
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
        raise DiskFull(f"no room left in {folder}: {what} needs {readable(size)}, {_left(folder, error)}") from error


def _no_room(error: OSError | SafetensorError) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_ROOM
    return any(f"(os error {number})" in str(error) for number in NO_ROOM)  # safetensors raises no OSError


def _left(folder: Path, error: OSError | SafetensorError) -> str:
    """How much room there is: of a full disk its own, of a limit that limit."""
    number = error.errno if isinstance(error, OSError) else int(str(error).partition("(os error ")[2].partition(")")[0])
    if number == errno.EFBIG:
        return f"and a file may have {readable(resource.getrlimit(resource.RLIMIT_FSIZE)[0])} (`ulimit -f`)"
    return "and your quota is used up" if number == errno.EDQUOT else f"{readable(shutil.disk_usage(folder).free)} are free"


def readable(size: float) -> str:
    """A size in bytes as text, such as ``1.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def to_disk(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
