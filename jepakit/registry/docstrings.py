"""Reads a component's docstring: summary, description, the meaning of its fields, source."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Attributes|Examples?|Notes?|Source):[ \t]*(.*)$")
_ARGUMENT = re.compile(r"^(\w+)(?: *\([^)]*\))?: *(.*)$")


@dataclass(frozen=True)
class Docstring:
    """The parts of a Google-style docstring."""

    summary: str = ""  #: the first line, as `jepakit list` shows it
    description: str = ""  #: the paragraphs between the summary and the sections
    arguments: dict[str, str] = field(default_factory=dict)
    source: str = ""  #: paper and equation, from a line that starts with ``Source:``


def read_docstring(text: str | None) -> Docstring:
    """Split a Google-style docstring into its parts. Missing parts are empty."""
    sections: dict[str, list[str]] = {"": []}
    current = sections[""]
    for line in inspect.cleandoc(text or "").splitlines():
        if heading := _SECTION.match(line):
            current = sections.setdefault(heading[1], [])
            current.append(heading[2])
        elif current is sections.get("Source") and not line:
            current = sections[""]  # a source is one paragraph; the description may continue after it
        else:
            current.append(line)
    summary, _, description = "\n".join(sections[""]).strip().partition("\n")
    arguments = sections.get("Args") or sections.get("Arguments") or sections.get("Parameters") or []
    return Docstring(summary, description.strip(), _arguments(arguments), " ".join(" ".join(sections.get("Source", [])).split()))


def _arguments(lines: list[str]) -> dict[str, str]:
    """Read ``name: text`` or ``name (type): text``; deeper lines continue a text."""
    texts: dict[str, list[str]] = {}
    body = inspect.cleandoc("\n".join(lines)).splitlines()
    current: list[str] = []
    for line in body:
        if entry := _ARGUMENT.match(line):
            current = texts.setdefault(entry[1], [])
            current.append(entry[2])
        else:
            current.append(line.strip())
    return {name: " ".join(" ".join(text).split()) for name, text in texts.items()}
