"""The one exception that means: the user can mend this (exit code 2, no traceback), and how it suggests a name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A user's mistake: what is wrong, where, and what to write instead.

    The command line prints the message as it stands and exits with code 2. Every other exception is a failed run (exit code 1).
    """


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
    return ", ".join(f"`{name}`" for name in names)
