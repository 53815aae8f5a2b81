"""Places in a recipe, and problems there: path, line, column, the quoted line and a caret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from jepakit.errors import UserError, shown

LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # YAML's line breaks, so that line numbers match the parser's
MAX_TOLD = 50  #: mistakes listed in one message
_SHOWN = 100  # characters shown of a long line, around the caret
_PATH = 300  # characters shown of a path


@dataclass(frozen=True)
class Source:
    """A text that a recipe is read from: a file, or one override."""

    name: str  #: a file's full path, or ``--set #2``
    text: str = field(repr=False)
    folder: Path  #: the folder where its relative paths start
    is_file: bool = True

    def __str__(self) -> str:
        return shown_path(self.name) if self.is_file else self.name

    @cached_property
    def _lines(self) -> list[str]:
        return LINE_BREAK.split(self.text)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        return self._lines[number - 1]


@dataclass(frozen=True)
class Place:
    """A position in a source; lines and columns count from 1."""

    source: Source
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.source.is_file else str(self.source)

    def quoted(self) -> str:
        """The line, with a caret under the column."""
        text = self.source.line(self.line)
        start = max(0, self.column - _SHOWN)
        shown = "".join(char if char.isprintable() or char == "\t" else "�" for char in text[start : start + _SHOWN + 20])
        before = shown[: self.column - 1 - start]
        return f"    {shown}\n    {''.join(char if char == chr(9) else ' ' for char in before)}^"


@dataclass(frozen=True)
class Problem:
    """One mistake in a recipe."""

    place: Place | None
    wrong: str
    advice: str = ""  #: what was expected, and the closest valid name
    hides: bool = False  #: a part of the recipe could not be read, so a missing field may be in that part
    unchecked: bool = False  #: no mistake if a plug-in that was not imported defines the unknown name

    def __str__(self) -> str:
        advice = f"\n    {self.advice}" if self.advice else ""
        return f"{self.place}: {self.wrong}\n{self.place.quoted()}{advice}" if self.place else f"{self.wrong}{advice}"


class RecipeError(UserError):
    """All mistakes found in a recipe."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        told = [str(problem) for problem in self.problems[:MAX_TOLD]]
        if len(self.problems) > MAX_TOLD:
            told.append(f"and {len(self.problems) - MAX_TOLD:,} more mistakes")
        super().__init__("\n".join(told))


def shown_path(path: str | Path) -> str:
    """A path for messages: relative to the current folder if it lies below it."""
    try:
        return shown(str(Path(path).relative_to(Path.cwd())), _PATH)
    except (ValueError, OSError):
        return shown(str(path), _PATH)
