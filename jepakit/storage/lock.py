"""One writer a folder."""

from __future__ import annotations

import contextlib
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
PATIENCE = 0.5  #: seconds, for others only look (`is_locked`)


class Lock:
    """Held by the process that writes a run's folder, and told to others by a file with its pid and host.

    The operating system lets go of it when the process dies, however it dies: a dead owner's lock is taken over.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            UserError: Another process holds it, or one on another host has left it.
            OSError: The folder cannot be written.
        """
        self.path = folder / NAME
        until = time.monotonic() + PATIENCE
        while True:
            self.file = self.path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _owner(self.file)
                self.file.close()
                if time.monotonic() < until:
                    time.sleep(PATIENCE / 10)
                    continue
                raise UserError(f"{folder} is being written by process {owner.get('pid')} on {owner.get('host')}: wait for it") from None
            if self._is_the_folders():
                break
            self.file.close()  # its owner let go of it and took it away just now: make a new one
        owner = _owner(self.file)
        if _is_far(owner):
            self.file.close()
            raise UserError(
                f"{folder} was being written by process {owner.get('pid')} on {owner['host']}; if that has ended, remove {self.path}"
            )
        self.file.truncate(0)
        self.file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        self.file.flush()

    def release(self) -> None:
        """Let go of it."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.file.close()

    def _is_the_folders(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def is_locked(folder: Path, *, here: bool = False) -> bool:
    """Whether a process writes the folder now. The lock is looked at, and left as it is.

    Args:
        folder: A run's folder.
        here: Count processes of this machine alone, which are surely alive; of another host's lock nobody here knows whether it is.
    """
    path = folder / NAME
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return not here and _is_far(_owner(file))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _owner(file: IO[str]) -> dict[str, Any]:
    """Whom a lock's file names."""
    file.seek(0)
    try:
        owner = json.loads(file.read(10_000))
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_far(owner: Mapping[str, Any]) -> bool:
    """Whether it is another host's, of whose processes nothing is known here."""
    return owner.get("host", platform.node()) != platform.node()
