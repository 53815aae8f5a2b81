"""HTML that is safe by construction: whatever is not `Html` is escaped when it enters it."""

from __future__ import annotations

import html as standard
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from jepakit.errors import printable


class Html(str):
    """Text that may stand in a page as it is."""

    __slots__ = ()


def html(template: LiteralString, *values: object, **named: object) -> Html:
    """Fill values into the ``{}`` of a template, escaped unless they are `Html`."""
    return Html(template.format(*map(escaped, values), **{name: escaped(value) for name, value in named.items()}))


def escaped(value: object) -> Html:
    """The value as text of a page."""
    return value if isinstance(value, Html) else Html(standard.escape(printable(str(value))))


def joined(parts: Iterable[object], between: LiteralString = "") -> Html:
    """Parts one after the other."""
    return Html(between.join(escaped(part) for part in parts))


def table(headings: Sequence[object], rows: Iterable[Sequence[object]], kind: LiteralString = "") -> Html:
    """A table that scrolls within its own box where the screen is narrow; the first column names the row."""
    head = joined(html('<th scope="col">{}</th>', heading) for heading in headings)
    body = joined(
        html("<tr>{}</tr>", joined(html('<th scope="row">{}</th>' if at == 0 else "<td>{}</td>", cell) for at, cell in enumerate(row)))
        for row in rows
    )
    return html(
        '<div class="scroll" tabindex="0"><table class="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        Html(kind),
        head,
        body,
    )


@dataclass(frozen=True)
class Panel:
    """One section of the page."""

    id: str  #: one of ours, never of a run
    title: str
    words: Html  #: what it shows and how to read it, for a reader who has never heard of JEPA
    body: Html
    charts: dict[str, dict[str, Any]] = field(default_factory=dict)  #: by the name under which `body` places them; for page.js


def chart(name: str, title: object, note: object = "", *, tall: bool = False, spoken: str = "") -> Html:
    """The place of a chart; ``spoken`` stands for a title that is more than text."""
    caption = html('<figcaption>{}<span class="note">{}</span></figcaption>', title, note)
    return html(
        '<figure class="chart{}" data-chart="{}">{}<div class="plot" role="img" aria-label="{}"></div></figure>',
        Html(" tall" if tall else ""),
        name,
        caption,
        spoken or title,
    )


def missing(text: object, command: str = "") -> Html:
    """The line in place of what these runs cannot show."""
    told = html(" <code>{}</code>", command) if command else Html("")
    return html('<p class="missing">{}{}</p>', text, told)
