"""The exception for a user's mistake (exit code 2, no traceback), and helpers that word its message."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterable
from difflib import get_close_matches

LEAST_PART = 4  #: characters from which a part of a name tells which is meant


class UserError(Exception):
    """A user's mistake: what is wrong, where, and what to write instead.

    The command line prints the message unchanged and exits with code 2. Any other exception means a failed run (exit code 1).
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """Escape every character that a terminal would act on: the text may come from an untrusted file."""
    return "".join(char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text)


def shown(name: str, most: int = 80) -> str:
    """Escape and shorten a name, so that it fits on one line of a message."""
    line = printable(name[: most + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def told(error: BaseException) -> str:
    """The last line of an exception's traceback, escaped and shortened."""
    return shown(traceback.format_exception_only(error)[-1].strip(), 300)


def raised_in(error: BaseException) -> str:
    """The module and line that raised an exception, such as ``mujoco.bindings, line 12``; empty if it has no traceback."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f"{frame.f_globals.get('__name__', '?')}, line {line}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name closest to ``name``, or the only one of which it is a part (``shift``: ``random_shift``); None if there is neither."""
    lowered = {known.lower(): known for known in names}
    wanted = name.lower()
    found = get_close_matches(wanted, lowered, n=1)
    if not found and len(wanted) >= LEAST_PART:
        found = [known for known in lowered if wanted in known]
    return lowered[found[0]] if len(found) == 1 else None


def suggestion(name: str, names: Iterable[str], those: str) -> str:
    """``did you mean …?`` if a name is close, else ``those`` and every name."""
    names = list(names)
    near = nearest(name, names)
    return f"did you mean `{near}`?" if near else f"{those}: {listing(names) or 'none'}"


def listing(names: Iterable[str]) -> str:
    """The names in backquotes, separated by commas."""
    return ", ".join(f"`{shown(name)}`" for name in names)


def signal_name(number: int) -> str:
    """Such as ``SIGKILL``; most real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
