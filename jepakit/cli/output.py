"""Output of the verbs: laid out to fit a terminal; in a pipe neither wrapped nor cut, but for tables where ``COLUMNS`` is set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jepakit import errors
from jepakit.errors import printable

UNWRAPPED = 100_000  # columns of a pipe: wide enough never to wrap


def to_terminal() -> bool:
    """Whether stdout is a terminal, not a pipe or a file."""
    return Console().is_terminal


def columns() -> int:
    """The width of tables: the terminal's, or ``COLUMNS``; in a pipe without it as wide as their text."""
    written = os.environ.get("COLUMNS", "")
    if to_terminal() or (written.isdecimal() and int(written) > 0):
        return Console().width
    return UNWRAPPED


def counted(count: int, noun: str) -> str:
    """The number with its noun, such as ``1 run`` or ``2 runs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def emit(*blocks: RenderableType) -> None:
    """Print each block from the left margin on."""
    console = Console(width=columns(), highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        for block in blocks:
            if isinstance(block, str):
                console.print(printable(block), soft_wrap=not to_terminal())
            else:
                console.print(block)
    typer.echo("\n".join(line.rstrip() for line in capture.get().rstrip().splitlines()))


def table(*headings: str, rows: Iterable[Iterable[str | Text]]) -> Table:
    """A table with columns as wide as their text. In a narrow terminal cells fold; no text is lost."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in row))
    return grid


def fitting_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], foldable: Sequence[str] = (), less: Sequence[str] = ()
) -> tuple[Table, list[str]]:
    """A table that never breaks an id or a number over two lines.

    Args:
        headings: Column headings.
        rows: Cells, one sequence per row.
        foldable: Columns whose text may fold in a narrow terminal.
        less: Columns to drop when the terminal is too narrow, in this order.

    Returns:
        The table, and the headings of the dropped columns.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    width = columns()
    needed = {
        heading: max(len(heading), *(min(len(row[at]), 16) if heading in foldable else len(row[at]) for row in cells)) + 2
        for at, heading in enumerate(headings)
    }
    left_out: list[str] = []
    for heading in less:
        if sum(needed.values()) <= width:
            break
        left_out.append(heading)
        del needed[heading]
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in needed:
        grid.add_column(
            heading, overflow="fold", no_wrap=heading not in foldable and needed[heading] <= width, min_width=needed[heading] - 2
        )
    kept = [at for at, heading in enumerate(headings) if heading in needed]
    for row in cells:
        grid.add_row(*(Text(row[at]) for at in kept))
    return grid, left_out


def indented(text: str | Text, columns: int) -> Padding:
    """A paragraph whose wrapped lines keep its margin."""
    return Padding(text, (0, 0, 0, columns), expand=False)


def prose(text: str) -> str:
    """A docstring's text for the terminal: one line per paragraph, single backticks."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.replace("``", "`").split("\n\n"))


def place(location: str) -> str:
    """``file:line`` relative to the working directory or to the package, if the file lies below either."""
    path = Path(location)
    for root in (Path.cwd(), Path(errors.__file__).parents[1]):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return location
