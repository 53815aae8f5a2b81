"""What differs between the configurations, beside their results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jepakit.errors import shown
from jepakit.report.comparison import compare_pairs, notes, summarise
from jepakit.report.labels import APART, is_list_of_components, numbered
from jepakit.report.page.markup import Html, Panel, html, joined, table
from jepakit.report.page.study import Study
from jepakit.report.page.teachers import teachers
from jepakit.report.tables import pair_table, row_table

MOST_FIELDS = 12  #: columns of differences
LONGEST = 40  #: characters of a value
#: What differs between configurations of one recipe, by the words that tell it in their labels.
BESIDE_THE_RECIPE = {"code=": "the code of their plug-ins", "weights=": "the weights that they began with"}

WORDS = html(
    "<p>A <b>configuration</b> is a recipe; its runs differ only in their seed, the number that fixes all chance. The columns on the right "
    "name every field in which the recipes differ: what is not named is the same everywhere.</p>"
)


def differences(study: Study) -> Panel:
    """The configurations: results first, then the fields in which their recipes differ."""
    configurations = [group.configuration for group in study.groups]
    rows = summarise(configurations)
    headings, cells = row_table(rows)
    fields, hidden = differing([group.recipe for group in study.groups])
    lines = []
    for group, own in zip(study.groups, cells, strict=True):
        first = html('<span class="swatch" data-config="{}"></span>{}', group.index, group.label)
        lines.append([first, teachers(group.recipe).words, *own[1:], *(values[group.index] for values in fields.values())])
    codes = [html("<code>{}</code>", name) for name in fields]
    parts: list[Html] = [table(["configuration", "encoder learns from", *headings[1:], *codes], lines, "results")]
    if hidden:
        parts.append(html('<p class="note">{} more fields differ: <code>jepakit runs</code> and each recipe below name them.</p>', hidden))
    if len(configurations) > 1 and not fields:
        labels = " ".join(group.configuration.label for group in study.groups)
        apart = " and ".join(what for mark, what in BESIDE_THE_RECIPE.items() if mark in labels)
        parts.append(html('<p class="note">The recipes are the same; what differs is {}.</p>', apart))
    if pairs := compare_pairs(configurations):
        parts.append(html("<details><summary>Which ends higher?</summary>{}</details>", table(*pair_table(pairs))))
    parts.append(
        html("<details><summary>How to read the numbers</summary>{}</details>", joined(html("<p>{}</p>", note) for note in notes(rows)))
    )
    return Panel("configurations", "What differs" if len(configurations) > 1 else "The configuration", WORDS, joined(parts))


def differing(recipes: list[dict[str, Any]]) -> tuple[dict[str, list[str]], int]:
    """The fields in which recipes differ, each with one value a recipe ("–" where it has no meaning), and how many more there are.

    A field of a component counts only among recipes that have this component.
    """
    flat = [dict(_fields({name: value for name, value in recipe.items() if name not in APART})) for recipe in recipes]
    names = dict.fromkeys(name for fields in flat for name in fields)
    told = {name: [fields.get(name, "–") for fields in flat] for name in names}
    apart = {name: values for name, values in told.items() if len(set(values) - {"–"}) > 1}
    first = {name: [shown(value, LONGEST) for value in values] for name, values in list(apart.items())[:MOST_FIELDS]}
    return first, max(0, len(apart) - MOST_FIELDS)


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every field with its value as text; a component's field is named by the component's kind, too."""
    if is_list_of_components(value):
        yield path, ", ".join(entry["kind"] for entry in value)
        for kind, entry in numbered(value).items():
            yield from _below(entry, f"{path}.{kind}")
    elif isinstance(value, Mapping) and value:
        if path:
            yield path, str(value.get("kind", "set"))
        yield from _below(value, path)
    else:
        yield path, value if isinstance(value, str) else {"null": "none", "[]": "none"}.get(json.dumps(value), json.dumps(value))


def _below(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, entry in value.items():
        if name != "kind":
            yield from _fields(entry, f"{path}.{name}" if path else shown(str(name), LONGEST))
