"""One writer a folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
from pathlib import Path
from typing import Any

from jepakit.errors import UserError

NAME = "lock"


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
        while True:
            self.file = self.path.open("a+", encoding="utf-8")
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = self._owner()
                self.file.close()
                raise UserError(f"{folder} is being written by process {owner.get('pid')} on {owner.get('host')}: wait for it") from None
            if self._is_the_folders():
                break
            self.file.close()  # its owner let go of it and took it away just now: make a new one
        owner = self._owner()
        if owner.get("host", platform.node()) != platform.node():
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

    def _owner(self) -> dict[str, Any]:
        self.file.seek(0)
        try:
            owner = json.loads(self.file.read())
        except ValueError:
            return {}
        return owner if isinstance(owner, dict) else {}


def is_locked(folder: Path) -> bool:
    """Whether a process writes the folder now."""
    if not (folder / NAME).exists():
        return False
    try:
        Lock(folder).release()
    except UserError:
        return True
    except OSError:
        return False  # nobody can write there
    return False
