"""Turns pydantic's validation errors into `Problem`s: the place in the recipe, the expected value, the closest valid name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from jepakit import registry
from jepakit.errors import listing, nearest, printable, shown, suggestion
from jepakit.recipe.dump import flow
from jepakit.recipe.errors import Problem
from jepakit.recipe.schema import Recipe, recipe_schema
from jepakit.recipe.slots import slot_paths
from jepakit.recipe.tree import KeyPath, Node, dotted
from jepakit.recipe.words import Schema, Vocabulary, describe_value
from jepakit.registry.nearby import file_registering
from jepakit.registry.plugins import Plugin
from jepakit.registry.signature import ComponentFields

MAX_SHOWN = 200  #: characters of a value to write instead
_OWN_WORDS = {"value_error", "assertion_error", "twice", "failed"}


def retold(
    error: ValidationError,
    tree: Node,
    values: dict[str, Any],
    plugins: Sequence[Plugin],
    incomplete: bool,
    unimported: Sequence[str] = (),
) -> list[Problem]:
    """The problems behind a validation error.

    Args:
        error: The validation error.
        tree: The recipe as written.
        values: Its values, with default kinds filled in.
        plugins: The imported plug-ins; one that failed may explain an unknown kind.
        incomplete: Whether parts of the recipe could not be read; then no field is reported as missing.
        unimported: Plug-ins and packages that were not imported and may define an unknown kind.
    """
    words = _vocabulary(frozenset(found.fields for found in registry.components()))
    return _Teller(tree, values, words, plugins, incomplete, unimported).problems(error)


def retold_fields(error: ValidationError, tree: Node, values: dict[str, Any], found: registry.Component) -> list[Problem]:
    """The problems behind a validation error in the fields of a component that stands outside a recipe."""
    return _Teller(tree, values, Vocabulary(found.fields.model_json_schema())).problems(error)


@lru_cache(maxsize=1)
def _vocabulary(_fields: frozenset[type[ComponentFields]]) -> Vocabulary:
    """The schema's vocabulary, cached for a set of components: a sweep needs it for every wrong run."""
    return Vocabulary(recipe_schema())


class _Teller:
    def __init__(
        self,
        tree: Node,
        values: dict[str, Any],
        words: Vocabulary,
        plugins: Sequence[Plugin] = (),
        incomplete: bool = False,
        unimported: Sequence[str] = (),
    ) -> None:
        self.tree, self.values, self.incomplete, self.unimported = tree, values, incomplete, unimported
        self.failures = [f"`{shown(plugin.name)}` ({plugin.failure})" for plugin in plugins if plugin.failure]
        self.broken = {plugin.file.resolve() for plugin in plugins if plugin.failure and plugin.file}
        self.words, self.schema = words, words.root

    def problems(self, error: ValidationError) -> list[Problem]:
        found = [(self.path(detail["loc"]), detail) for detail in error.errors()]
        unknown = [path for path, detail in found if detail["type"] == "extra_forbidden"]
        bad_values = {path[:length] for path, detail in found if self.is_bad_value(detail) for length in range(len(path))}
        problems: dict[object, Problem] = {}
        for path, detail in found:
            if self.is_missing(detail):
                if not self.incomplete and not self.misspelled(path, str(detail["loc"][-1]), unknown):
                    problems[path, detail["loc"][-1]] = self.missing(path, str(detail["loc"][-1]))
            elif detail["type"] == "extra_forbidden":
                problems[path] = self.unknown_field(path)
            elif detail["type"] == "unknown_kind":
                problems[path] = self.unknown_kind(path)
            elif not self.is_bad_value(detail):
                text = str(detail.get("ctx", {}).get("error") or detail["msg"])
                problems[path, text] = Problem(self.tree.nearest_place(path), f"`{dotted(path)}`: {printable(text)}")
            # Of a union's errors about one value, report the deepest: `a list` is right, its second entry is not.
            elif path not in bad_values:
                problems[path] = self.bad_value(path, detail)
        return sorted(problems.values(), key=_by_place)

    @staticmethod
    def is_missing(detail: ErrorDetails) -> bool:
        return detail["type"] == "missing" and isinstance(detail["loc"][-1], str)  # a missing list entry is a wrong list

    def is_bad_value(self, detail: ErrorDetails) -> bool:
        return not self.is_missing(detail) and detail["type"] not in {"extra_forbidden", "unknown_kind", *_OWN_WORDS}

    def path(self, loc: Sequence[str | int]) -> KeyPath:
        """The part of pydantic's location that is written in the recipe, without its names for a union's members."""
        path: list[str | int] = []
        node: Node | None = self.tree
        for step in loc:
            if node and (entry := node.get(step)):
                path.append(step)
                node = entry
        return tuple(path)

    def at(self, path: KeyPath) -> tuple[Schema, Any]:
        """The schema and the value at a path."""
        schema: Schema = self.schema
        value: Any = self.values
        for key in path:
            schema, value = self.words.entry(schema, value, key), value[key]
        return schema, value

    def missing(self, path: KeyPath, name: str) -> Problem:
        schema, value = self.at(path)
        expected = self.words.describe(self.words.entry(schema, value, name))
        place = self.tree.nearest_place(path, of_key=True)
        return Problem(place, f"`{dotted((*path, name))}` is missing", f"expected {expected}")

    def misspelled(self, path: KeyPath, name: str, unknown: list[KeyPath]) -> bool:
        written = [str(other[-1]) for other in unknown if other[:-1] == path]
        names = self.words.fields(*self.at(path))
        return any(nearest(other, names) == name for other in written)

    def unknown_field(self, path: KeyPath) -> Problem:
        name, (schema, value) = str(path[-1]), self.at(path[:-1])
        place = self.tree.nearest_place(path, of_key=True)
        within = f" in `{dotted(path[:-1])}`" if len(path) > 1 else ""
        if elsewhere := [dotted(there) for there in self.words.places(self.schema, self.values, name)]:
            advice = f"did you mean {' or '.join(f'`{shown(there)}`' for there in elsewhere)}?"
        else:
            advice = suggestion(name, self.words.fields(schema, value), "the fields here are")
            if kinds := self.words.kinds_with(schema, name):
                advice += f"; `{name}` is a field of the kind{'s' * (len(kinds) > 1)} {listing(kinds)}"
        return Problem(place, f"unknown field `{shown(name)}`{within}", advice)

    def unknown_kind(self, path: KeyPath) -> Problem:
        schema, value = self.at(path)
        kind, kinds = value.get("kind"), self.words.kinds(schema)
        slot = self.slot(path)
        if self.unimported and isinstance(kind, str):
            names = listing(self.unimported[:3]) + (", …" if len(self.unimported) > 3 else "")
            wrong = f"jepakit has no {slot} `{shown(kind)}` of its own"
            advice = f"not checked: {names} may define it"
            return Problem(self.tree.nearest_place((*path, "kind")), wrong, advice, unchecked=True)
        place = self.tree.nearest_place((*path, "kind"))
        advice = suggestion(str(kind), kinds, "its kinds are")
        file = file_registering(slot, str(kind), place.source.folder)
        if file and file.resolve() not in self.broken:
            entry = f"./{shown(file.name)}"
            written = f"write `plugins: [{entry}]`" if place.source.is_file else f"add --set 'plugins=[{entry}]'"
            advice = f"{entry} registers it: {written}"
        if self.failures:
            advice += f"\n    these plug-ins could not be imported: {'; '.join(self.failures)}"
        wrong = f"unknown {slot} `{shown(kind)}`" if isinstance(kind, str) else f"`kind` must be a name, got {describe_value(kind)}"
        return Problem(place, wrong, advice)

    @staticmethod
    def slot(path: KeyPath) -> str:
        place = tuple(0 if isinstance(step, int) else step for step in path)
        return next(slot for known, slot, _ in slot_paths(Recipe) if known == place)

    def bad_value(self, path: KeyPath, detail: ErrorDetails) -> Problem:
        schema, value = self.at(path)
        expected = self.words.describe(schema)
        advice = f"expected {expected}" if schema and expected != "any value" else detail["msg"]
        wrong = f"`{dotted(path)}` cannot be {describe_value(value)}"
        return Problem(self.tree.nearest_place(path), wrong, " ".join([advice, *self.hints(schema, value)]))

    def hints(self, schema: Schema, value: Any) -> Iterator[str]:
        types = {branch.get("type") for branch in self.words.branches(schema)}
        if "array" in types and isinstance(value, dict) and all(key.isdecimal() for key in value):
            yield "(the recipe does not write this list out, so it has no numbered entries: write the whole list)"
        elif "array" in types and isinstance(value, dict) and len(told := flow([value])) <= MAX_SHOWN:
            yield f"(write `{shown(told, MAX_SHOWN)}`)"
        elif isinstance(value, str):
            if near := nearest(value, self.words.choices(schema)):
                yield f"(did you mean `{near}`?)"
            elif "boolean" in types and value.lower() in {"yes", "no", "on", "off", "y", "n"}:
                yield "(YAML 1.2 has no yes, no, on or off)"
            elif types & {"integer", "number"} and re.fullmatch(r"[0-9]+(_[0-9]+)*(\.[0-9]+)?", value):
                yield f"(write {value} without quotes)"
        elif isinstance(value, float) and "integer" in types and value.is_integer() and abs(value) < 1e15:
            yield f"(write {int(value):_})"


def _by_place(problem: Problem) -> tuple[bool, str, int, int]:
    assert problem.place
    return not problem.place.source.is_file, problem.place.source.name, problem.place.line, problem.place.column
