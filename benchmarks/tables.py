"""Tables in Markdown, and pages whose tables are made from figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from jepakit.report.tables import markdown

_BETWEEN = re.compile(r"(?P<begin><!-- table: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)", re.S)


def filled(page: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its markers made anew."""
    return _BETWEEN.sub(lambda marked: f"{marked['begin']}\n{tables[marked['name']]}\n\n{marked['end']}", page)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table of cells of any kind."""
    return markdown(headings, [[str(cell) for cell in row] for row in rows]).rstrip("\n")
