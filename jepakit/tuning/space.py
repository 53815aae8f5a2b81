"""What may vary, by path: ranges, choices, and values with such things in them; and what is drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jepakit.recipe import Place
from jepakit.recipe.tree import Node
from jepakit.sweep.variants import Setting


@dataclass(frozen=True)
class Range:
    """``{low: 1e-4, high: 1e-2, log: true}``: numbers from ``low`` to ``high``, both included."""

    low: float
    high: float
    log: bool
    step: float | None
    ends: tuple[Place, Place]
    step_place: Place | None = None

    @property
    def whole(self) -> bool:
        """Whether the file has whole numbers only."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 0))

    def contains(self, value: object) -> bool:
        """Whether a number is in the range, and on its steps."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-6)


@dataclass(frozen=True)
class Choice:
    """``[vit, nature_cnn]``: one of several values, by their labels."""

    options: Mapping[str, Part]


@dataclass(frozen=True)
class Value:
    """A value as it is written, with the distributions in it."""

    node: Node
    parts: Mapping[str | int, Part]


Part = Range | Choice | Value
Suggest = Callable[[str, Range | Choice], Any]  #: for a name and a distribution, a number or the label of an option


@dataclass(frozen=True)
class Space:
    """What may vary, by path."""

    parts: Mapping[str, Part]
    places: Mapping[str, Place]  #: where the paths are written
    content: str  #: the file's content, as JSON: equal for equal spaces

    def draw(self, suggest: Suggest) -> list[Setting]:
        """The values of one trial."""
        return [Setting(path, draw_part(part, path, suggest), self.places[path]) for path, part in self.parts.items()]


def draw_part(part: Part, name: str, suggest: Suggest, given: tuple[str, ...] = ()) -> Node:
    """The value of one part.

    Args:
        part: The part.
        name: Its path in the recipe.
        suggest: Chooses a number or an option.
        given: The labels of the options around it.
    """
    called = named(name, given)
    if isinstance(part, Range):
        value = suggest(called, part)
        return Node(value, part.ends[value == part.high])
    if isinstance(part, Choice):
        label = suggest(called, part)
        return draw_part(part.options[label], name, suggest, (*given, label))
    return with_entries(part, {key: draw_part(inner, f"{name}.{key}", suggest, given) for key, inner in part.parts.items()})


def with_entries(part: Value, entries: Mapping[str | int, Node]) -> Node:
    """The value as it is written, with other entries."""
    if isinstance(part.node.data, dict):
        return replace(part.node, data={key: entries.get(key, node) for key, node in part.node.data.items()})
    if isinstance(part.node.data, list):
        return replace(part.node, data=[entries.get(at, node) for at, node in enumerate(part.node.data)])
    return part.node


def ends(part: Part) -> list[Node]:
    """Values in which both ends of every range, its first step, and every option appear."""
    if isinstance(part, Range):
        between = [Node(part.low + part.step, part.step_place)] if part.step and part.step_place else []
        return [Node(part.low, part.ends[0]), Node(part.high, part.ends[1]), *between]
    if isinstance(part, Choice):
        return [node for option in part.options.values() for node in ends(option)]
    inner = {key: ends(entry) for key, entry in part.parts.items()}
    count = max(map(len, inner.values()), default=1)
    return [with_entries(part, {key: nodes[at % len(nodes)] for key, nodes in inner.items()}) for at in range(count)]


def halves(part: Part, name: str, given: tuple[str, ...] = ()) -> Iterator[tuple[str, Node]]:
    """For each range that is written in whole numbers without a step: its name, and a value in which it is half a number above its low."""
    if isinstance(part, Range):
        if part.whole and part.step is None:
            yield named(name, given), Node(part.low + 0.5, part.ends[0])
    elif isinstance(part, Choice):
        for label, option in part.options.items():
            yield from halves(option, name, (*given, label))
    else:
        first = {key: ends(inner)[0] for key, inner in part.parts.items()}
        for key, inner in part.parts.items():
            for called, node in halves(inner, f"{name}.{key}", given):
                yield called, with_entries(part, {**first, key: node})


def named(path: str, given: tuple[str, ...]) -> str:
    """The name of a distribution: its path, and the options around it that it belongs to, as in ``jepa.target.decay (ema)``."""
    return f"{path} ({', '.join(given)})" if given else path
