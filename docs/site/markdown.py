"""Docstrings and tables as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes|Source):\s*(.*)$")
_ENTRY = re.compile(r"^(\*{0,2}[\w.]+)(?: *\([^)]*\))?: +(.*)$")
_NAMES = {"Args": "Arguments"}


def prose(text: str) -> str:
    """A docstring's text: paragraphs of one line each, with Markdown's backticks."""
    paragraphs = text.replace("``", "`").split("\n\n")
    return "\n\n".join(_line(part) for part in paragraphs).strip()


def _line(text: str) -> str:
    """One line, in which nothing outside of code is read as HTML or emphasis, but for a single *word*."""
    parts = re.split(r"(`[^`]*`|(?<!\*)\*\w+\*(?!\*))", " ".join(text.split()))
    return "".join(part if at % 2 else re.sub(r"([*_])", r"\\\1", part).replace("<", "&lt;") for at, part in enumerate(parts))


def docstring(thing: object) -> str:
    """An object's Google-style docstring: its paragraphs, then a list for each section."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in (inspect.getdoc(thing) or "").splitlines():
        if heading := _SECTION.match(line):
            sections.append((heading[1], [heading[2]] if heading[2] else []))
        else:
            sections[-1][1].append(line)
    texts = []
    for name, lines in sections:
        body = inspect.cleandoc("\n".join(lines))
        if not name:
            texts.append(prose(body))
        elif name in ("Args", "Raises", "Attributes"):
            texts.append(f"**{_NAMES.get(name, name)}**\n\n" + "\n".join(_entries(body)))
        else:
            texts.append(f"**{name}** {prose(body)}")
    return "\n\n".join(filter(None, texts))


def _entries(body: str) -> Iterable[str]:
    entries: list[list[str]] = []
    for line in body.splitlines():
        if found := _ENTRY.match(line):
            entries.append([found[1], found[2]])
        elif entries:
            entries[-1][1] += " " + line
    return [f"- `{name}`: {prose(text)}" for name, text in entries]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty without rows."""
    written = ["| " + " | ".join(cell.replace("\n\n", "<br>") for cell in row) + " |" for row in rows]
    if not written:
        return ""
    return "\n".join(["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings), *written])


def fields(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of fields, whose cells a narrow screen shows one below the other."""
    written = table(headings, rows)
    return written and f'<div class="fields" markdown>\n\n{written}\n\n</div>'


def page(*blocks: str) -> str:
    """Blocks with an empty line between them."""
    return "\n\n".join(filter(None, blocks)) + "\n"
