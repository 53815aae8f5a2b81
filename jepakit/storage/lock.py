"""A lock that lets only one process write a run's folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from jepakit.errors import UserError

NAME = "lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  #: a network file system that is mounted without locks
PATIENCE = 0.5  #: seconds to wait, because `is_locked` of another process takes the lock for a moment


class Lock:
    """Held by the process that writes a run's folder; its file tells others that process's pid and host.

    The operating system releases the lock when the process dies, however it dies, so the next process can take it.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            UserError: Another process holds the lock, a process on another host left it, or the file system has no locks.
            OSError: The folder cannot be written.
        """
        self.path = folder / NAME
        until = time.monotonic() + PATIENCE
        while True:
            self.file = self.path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = _owner(self.file)
                self.file.close()
                if error.errno in NO_LOCKS:
                    if not owner:  # it was made just now
                        self.path.unlink(missing_ok=True)
                    told = f"the file system of {folder} cannot lock files ({error.strerror})"
                    raise UserError(f"{told}: mount it with locks (Lustre: `-o flock`), or name a folder elsewhere") from None
                if not isinstance(error, BlockingIOError):
                    raise
                if time.monotonic() < until:
                    time.sleep(PATIENCE / 10)
                    continue
                raise UserError(f"process {owner.get('pid')} on {owner.get('host')} is writing {folder}: wait for it") from None
            if self.is_in_place():
                break
            self.file.close()  # its owner has just released and removed it: create a new one
        owner = _owner(self.file)
        if _is_far(owner):
            self.file.close()
            raise UserError(f"process {owner.get('pid')} on {owner['host']} was writing {folder}; if it has ended, remove {self.path}")
        self.file.truncate(0)
        self.file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        self.file.flush()

    def release(self) -> None:
        """Release the lock and remove its file."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.file.close()

    def is_in_place(self) -> bool:
        """Whether the folder still holds this lock: it may have been removed or moved."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def is_locked(folder: Path, *, here: bool = False) -> bool:
    """Whether a process is writing the folder now; leaves the lock as it is.

    Args:
        folder: A run's folder.
        here: Count only processes of this machine, which are certainly alive; a lock of another host may be stale.
    """
    path = folder / NAME
    try:
        if not path.is_file():  # opening a pipe would block
            return False
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return not here and _is_far(_owner(file))
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno in NO_LOCKS and not here  # who wrote the file could lock it, and may be alive


def holder(folder: Path) -> str:
    """The process that holds the lock of ``folder``, and what to do if it has ended without a trace."""
    with contextlib.suppress(OSError), (folder / NAME).open(encoding="utf-8") as file:
        owner = _owner(file)
        stale = f"; if it has ended, remove {folder / NAME}" if _is_far(owner) else ""
        return f"process {owner.get('pid')} on {owner.get('host')}{stale}"
    return "a process that has just ended"


def forget_lock(folder: Path, host: str) -> None:
    """Remove the lock that a process on ``host`` has left; only for who knows that the process, or the machine, is gone."""
    path = folder / NAME
    with contextlib.suppress(OSError), path.open(encoding="utf-8") as file:
        if _owner(file).get("host") == host and not is_locked(folder, here=True):
            path.unlink()


def _owner(file: IO[str]) -> dict[str, Any]:
    """The pid and host in a lock's file."""
    file.seek(0)
    try:
        owner = json.loads(file.read(10_000))
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_far(owner: Mapping[str, Any]) -> bool:
    """Whether the owner is on another host, where this process cannot see whether it is alive."""
    return owner.get("host", platform.node()) != platform.node()
