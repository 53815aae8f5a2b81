"""Reads ``space.yaml`` strictly: every mistake is told with its place."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jepakit.errors import shown, suggestion
from jepakit.files.reading import Unreadable, read_text
from jepakit.recipe import Place, Problem, Recipe, RecipeError
from jepakit.recipe.compose import can_be_path
from jepakit.recipe.dump import flow
from jepakit.recipe.errors import Source
from jepakit.recipe.schema import besides_results
from jepakit.recipe.tree import Node, key_path
from jepakit.recipe.yaml12 import read_yaml
from jepakit.tuning.space import Choice, Part, Range, Space, Value

MAX_BYTES = 256 * 1024
MAX_OPTIONS = 1_000  #: of one choice
RANGE = ("low", "high", "log", "step")
CHOICES = "choices"
_NOT_TUNED = {
    "seed": "every trial has the same seeds: --seeds says how many",
    "total_steps": "every trial has the same budget: --set total_steps=N",
    "extends": "write a recipe that extends the other",
    "parent": "a trial starts from nothing",
    "sweep": "a study is no sweep",
}


def read_space(space: str | Path | Mapping[str, Any]) -> Space:
    """Read and check a space by itself; `Candidates` checks it against a recipe.

    Args:
        space: The file, or its content.

    Raises:
        RecipeError: It lists every mistake found, each with its place.
    """
    source = _source(space)
    problems: list[Problem] = []
    node = read_yaml(source, problems)
    reading = _Reading(problems)
    parts = {path: reading.distribution(entry, node.keys[path]) for path, entry in reading.paths(node, source)} if node else {}
    if not problems and not parts:
        problems.append(Problem(Place(source), "nothing varies here", "write `optimizer.lr: {low: 1e-4, high: 1e-2, log: true}`"))
    if problems or node is None:
        raise RecipeError(problems)
    found = {path: part for path, part in parts.items() if part is not None}
    return Space(found, {path: node.keys[path] for path in found}, json.dumps(node.plain()))


def _source(space: str | Path | Mapping[str, Any]) -> Source:
    if isinstance(space, Mapping):
        try:
            return Source("the space", json.dumps(space, indent=1, ensure_ascii=False), Path.cwd(), is_file=False)
        except (TypeError, ValueError) as error:
            raise RecipeError([Problem(None, f"the space: {error}", "write numbers, texts, lists and mappings")]) from None
    path = Path(space)
    try:
        return Source(str(path), read_text(path, MAX_BYTES).removeprefix("\ufeff"), path.absolute().parent)
    except Unreadable as error:
        raise RecipeError([Problem(None, f"cannot read the space {shown(str(path), 300)}: {error}")]) from None
    except UnicodeDecodeError:
        raise RecipeError([Problem(None, f"cannot read the space {shown(str(path), 300)}: it is not UTF-8")]) from None


class _Reading:
    """From YAML to distributions; collects the mistakes."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def wrong(self, place: Place, text: str, advice: str = "") -> None:
        self.problems.append(Problem(place, text, advice))

    def paths(self, node: Node | None, source: Source) -> Iterator[tuple[str, Node]]:
        if node is None or not isinstance(node.data, dict):
            self.wrong(node.place if node else Place(source), "a space is a mapping from paths to values", "write `encoder.depth: [1, 2]`")
            return
        for path, entry in node.data.items():
            place, first = node.keys[path], path.partition(".")[0]
            if not can_be_path(path):
                self.wrong(place, f"`{shown(path)}` is no path of a recipe", "write `path.to.field: …`")
            elif advice := _NOT_TUNED.get(first):
                self.wrong(place, f"`{shown(path)}` cannot be searched", advice)
            elif first in besides_results(Recipe):
                self.wrong(place, f"`{shown(path)}` cannot be searched: it does not change what is learned", f"use --set {shown(path)}=…")
            elif around := _written_around(path, node.data):
                advice = f"keep one of the two, or write what varies into the values of `{shown(around)}`"
                self.wrong(place, f"`{shown(path)}` would replace what values of `{shown(around)}`, which is searched too, say", advice)
            else:
                yield path, entry

    def distribution(self, node: Node, place: Place) -> Part | None:
        """What stands after a path. A list is a choice here, and one fixed value a mistake."""
        before = len(self.problems)
        part = self.choice(node, node) if isinstance(node.data, list) else self.part(node)
        if len(self.problems) > before:
            return None
        if isinstance(part, Value) and not any(_distributions(part)):
            told = shown(flow(node.plain()))
            self.wrong(node.place, "one value is nothing to search", f"write it in the recipe, or several values: `[{told}, …]`")
            return None
        return part

    def part(self, node: Node) -> Part:
        """A range, a choice, or a value that may hold some."""
        if isinstance(node.data, dict) and {"low", "high"} & node.data.keys():
            return self.range(node)
        if isinstance(node.data, dict) and node.data.keys() == {CHOICES}:
            return self.choice(node.data[CHOICES], node)
        entries: Mapping[Any, Node] = (
            node.data if isinstance(node.data, dict) else dict(enumerate(node.data)) if isinstance(node.data, list) else {}
        )
        return Value(node, {key: self.part(entry) for key, entry in entries.items()})

    def range(self, node: Node) -> Part:
        data = node.data
        assert isinstance(data, dict)
        nothing = Value(node, {})
        before = len(self.problems)
        for name in data.keys() - set(RANGE):
            self.wrong(node.keys[name], f"unknown field `{shown(name)}` in a range", suggestion(name, RANGE, "its fields are"))
        for name in ("low", "high"):
            if name not in data:
                self.wrong(node.place, f"`{name}` is missing in this range", "write both ends: `{low: 1, high: 3}`")
        for name in ("low", "high", "step"):
            if name in data and not _is_number(data[name].data):
                self.wrong(data[name].place, f"`{name}` cannot be {shown(flow(data[name].plain()))}: expected a number")
        if "log" in data and not isinstance(data["log"].data, bool):
            self.wrong(data["log"].place, f"`log` cannot be {shown(flow(data['log'].plain()))}: expected true or false")
        if len(self.problems) > before:
            return nothing
        low, high, log, step = (data[name].data if name in data else None for name in RANGE)
        if isinstance(step, float) and step.is_integer():
            step = int(step)  # so that whole ends stay whole
        assert isinstance(low, int | float)
        assert isinstance(high, int | float)
        if not low < high:
            self.wrong(data["high"].place, f"`high` must be above `low`, {low}")
        elif log and low <= 0:
            self.wrong(data["low"].place, "a range with `log` must begin above 0")
        elif log and step is not None:
            self.wrong(data["step"].place, "a range with `log` has no steps", "leave one of the two out")
        elif isinstance(step, int | float):
            found = Range(low, high, False, step, (data["low"].place, data["high"].place))
            if step <= 0 or step > high - low:
                self.wrong(data["step"].place, f"`step` must be above 0 and at most high - low, {high - low:g}")
            elif not found.contains(high):
                last = low + math.floor((high - low) / step) * step
                self.wrong(data["high"].place, f"no whole number of steps leads from `low` to `high`; the last one is {last:g}")
        if len(self.problems) > before:
            return nothing
        between = (step, data["step"].place) if isinstance(step, int | float) else (None, None)
        return Range(low, high, bool(log), between[0], (data["low"].place, data["high"].place), between[1])

    def choice(self, node: Node, around: Node) -> Part:
        entries = node.data
        if not isinstance(entries, list) or not 2 <= len(entries) <= MAX_OPTIONS:
            self.wrong(node.place, f"a choice is a list of 2 to {MAX_OPTIONS:,} values", "write `[vit, nature_cnn]`")
            return Value(around, {})
        parts = [self.part(entry) for entry in entries]
        labels = _labels(entries)
        for label, count in Counter(labels).items():
            if count > 1:
                second = [entry for entry, mine in zip(entries, labels, strict=True) if mine == label][1]
                self.wrong(second.place, f"`{shown(label)}` is written twice in this choice", "keep one of the two")
        return Choice(dict(zip(labels, parts, strict=True)))


def _written_around(path: str, paths: Mapping[str, Node]) -> str | None:
    """The one of ``paths`` of which a value writes what is at ``path``, within it."""
    keys = key_path(path)
    for other, node in paths.items():
        outer = key_path(other) if can_be_path(other) else keys
        if len(outer) < len(keys) and outer == keys[: len(outer)] and any(option.find(keys[len(outer) :]) for option in _options(node)):
            return other
    return None


def _options(node: Node) -> list[Node]:
    chosen = node.get(CHOICES) or node
    return chosen.data if isinstance(chosen.data, list) else [chosen]


def _distributions(part: Part) -> Iterator[Range | Choice]:
    if isinstance(part, Value):
        for inner in part.parts.values():
            yield from _distributions(inner)
    else:
        yield part


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _labels(entries: list[Node]) -> list[str]:
    """A label for each option: the kinds of its components, if that tells the options apart, else the value itself."""
    short = [_kinds(entry.plain()) for entry in entries]
    return short if len(set(short)) == len(short) else [flow(entry.plain()) for entry in entries]


def _kinds(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        return str(value["kind"])
    if isinstance(value, list) and value and all(isinstance(entry, dict) and isinstance(entry.get("kind"), str) for entry in value):
        return "+".join(entry["kind"] for entry in value)
    return flow(value)
