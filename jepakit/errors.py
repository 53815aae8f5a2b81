"""The one exception that means: the user can mend this (exit code 2, no traceback), and how it suggests a name."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A user's mistake: what is wrong, where, and what to write instead.

    The command line prints the message as it stands and exits with code 2. Every other exception is a failed run (exit code 1).
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """A text with every character that a terminal would act on written out: a stranger's file may hold such."""
    return "".join(char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text)


def shown(name: str, most: int = 80) -> str:
    """A name as one short line of a message, whoever has chosen it."""
    line = printable(name[: most + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def told(error: BaseException) -> str:
    """An exception on one short line, whoever has raised it: its traceback's last."""
    return shown(traceback.format_exception_only(error)[-1].strip(), 300)


def raised_in(error: BaseException) -> str:
    """The module and line that raised it, such as ``mujoco.bindings, line 12``; empty where it has no traceback."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f"{frame.f_globals.get('__name__', '?')}, line {line}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant."""
    lowered = {known.lower(): known for known in names}
    found = get_close_matches(name.lower(), lowered, n=1)
    return lowered[found[0]] if found else None


def suggestion(name: str, names: Iterable[str], those: str) -> str:
    """``did you mean …?``, or else all the names that there are."""
    names = list(names)
    near = nearest(name, names)
    return f"did you mean `{near}`?" if near else f"{those}: {listing(names) or 'none'}"


def listing(names: Iterable[str]) -> str:
    """Names in backquotes."""
    return ", ".join(f"`{shown(name)}`" for name in names)
