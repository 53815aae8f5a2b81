"""What the verbs print: laid out in a terminal; in a pipe one item a line, never wrapped or cut."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jepakit import errors
from jepakit.errors import printable

UNWRAPPED = 100_000  # columns of a pipe, whose reader has no width to fit


def to_terminal() -> bool:
    """Whether someone is looking, rather than a pipe or a file reading."""
    return Console().is_terminal


def emit(*blocks: RenderableType) -> None:
    """Print each block from the left margin on."""
    console = Console(width=None if to_terminal() else UNWRAPPED, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(*(printable(block) if isinstance(block, str) else block for block in blocks), sep="\n")
    typer.echo("\n".join(line.rstrip() for line in capture.get().rstrip().splitlines()))


def table(*headings: str, rows: Iterable[Iterable[str | Text]]) -> Table:
    """Columns as wide as their text; in a narrow terminal cells fold, and no text is lost."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in row))
    return grid


def indented(text: str | Text, columns: int) -> Padding:
    """A paragraph whose wrapped lines keep its margin."""
    return Padding(text, (0, 0, 0, columns), expand=False)


def prose(text: str) -> str:
    """A docstring's text as it reads outside a docstring: paragraphs on one line each, single backticks."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.replace("``", "`").split("\n\n"))


def place(location: str) -> str:
    """``file:line`` relative to the working directory or to the package, where that is shorter."""
    path = Path(location)
    for root in (Path.cwd(), Path(errors.__file__).parents[1]):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return location
