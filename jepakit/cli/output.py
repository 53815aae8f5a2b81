"""Output of the verbs: laid out to fit a terminal; in a pipe neither wrapped nor cut, but for tables where ``COLUMNS`` is set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from itertools import zip_longest
from pathlib import Path

import typer
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Span, Text

from jepakit import errors
from jepakit.errors import printable

UNWRAPPED = 100_000  # columns of a pipe: wide enough never to wrap
GAP = 2  #: columns between a table's columns
LEAST = 16  #: columns that a foldable column keeps while another can be left out
NARROWEST = 8  #: columns that a column keeps in any case


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
) -> tuple[Text, list[str]]:
    """A table that never breaks an id or a number over two lines.

    Args:
        headings: Column headings.
        rows: Cells, one sequence per row.
        foldable: Columns whose text may fold in a narrow terminal.
        less: Columns to drop when the terminal is too narrow, in this order. One that fits once a wider one has gone comes back.

    Returns:
        The table, and the headings of the dropped columns.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    width = columns()
    needed = {
        heading: max(len(heading), *(min(len(row[at]), LEAST) if heading in foldable else len(row[at]) for row in cells)) + GAP
        for at, heading in enumerate(headings)
    }
    left_out: list[str] = []
    for heading in filter(headings.__contains__, less):
        if sum(needed[shown] for shown in headings if shown not in left_out) - GAP <= width:
            break
        left_out.append(heading)
    for heading in left_out[::-1]:
        if sum(needed[shown] for shown in headings if shown not in left_out or shown == heading) - GAP <= width:
            left_out.remove(heading)
    kept = [at for at, heading in enumerate(headings) if heading not in left_out]
    rows = [[row[at] for at in kept] for row in ([*headings], *cells)]
    return _grid(rows, {place for place, at in enumerate(kept) if headings[at] in foldable}, width), left_out


def _grid(rows: Sequence[Sequence[str]], foldable: Set[int], width: int) -> Text:
    """Rows in columns, the headings first. Rich's tables need seconds for thousands of rows."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + GAP * (len(widths) - 1) > width:
        narrowable = [at for at in foldable if widths[at] > NARROWEST] or [at for at, most in enumerate(widths) if most > NARROWEST]
        if not narrowable:
            break
        widths[max(narrowable, key=lambda at: widths[at])] -= 1
    console = Console(width=width)
    lines = []
    for row in rows:
        folded = [
            [text] if cell_len(text) <= most else [line.plain.rstrip() for line in Text(text).wrap(console, most, overflow="fold")]
            for text, most in zip(row, widths, strict=True)
        ]
        for texts in zip_longest(*folded, fillvalue=""):
            padded = (text + " " * (most - cell_len(text)) for text, most in zip(texts, widths, strict=True))
            lines.append((" " * GAP).join(padded).rstrip())
    return Text("\n".join(lines), no_wrap=True, spans=[Span(0, len(lines[0]), "bold")])


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
