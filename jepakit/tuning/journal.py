"""Optuna, and the file in which it keeps a study."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from jepakit.errors import UserError
from jepakit.files.reading import MOST

JOURNAL = "journal.jsonl"


def import_optuna() -> Any:
    """Optuna, with its log of what happens switched off.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("tune needs optuna: pip install 'jepakit[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_journal(folder: Path) -> Path:
    """The path of a study's journal, from which the half line is cut that a killed process may have left.

    Raises:
        UserError: It is no regular file, or too long.
    """
    path = folder / JOURNAL
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is not a regular file")
    with suppress(FileNotFoundError):
        if path.stat().st_size > MOST:
            raise UserError(f"{path} is too long for the journal of a study")
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
    return path


class Held:
    """In place of Optuna's own lock, which a killed process leaves behind: whoever opens a study holds the lock of its folder."""

    def acquire(self) -> bool:
        """It is held already."""
        return True

    def release(self) -> None:
        """It is held for longer."""
