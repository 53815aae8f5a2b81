"""A recipe and a space: the recipe of every trial, checked before the first one starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jepakit.recipe import AnyRecipe, Overrides, Problem, Recipe, RecipeError
from jepakit.recipe.compose import Composer
from jepakit.recipe.errors import MAX_TOLD
from jepakit.recipe.load import Draft, draft_recipe
from jepakit.recipe.tree import Node, key_path
from jepakit.sweep.variants import Setting, lay_settings, with_threads
from jepakit.tuning.space import Choice, Part, Range, Space, Value, draw_part, ends, halves, named


@dataclass(frozen=True)
class Candidates:
    """The recipes that a space makes of one recipe."""

    draft: Draft
    base: Recipe
    space: Space
    overrides: Overrides = ()  #: of the recipe, as they were given
    #: Names of the ranges that are written in whole numbers for a field that takes any number: they are searched as such.
    continuous: frozenset[str] = frozenset()

    def recipe(self, settings: Sequence[Setting]) -> Recipe:
        """The recipe with a trial's values.

        Raises:
            RecipeError: They do not fit together.
        """
        composer = Composer(self.draft.composer.default_kinds)
        tree = lay_settings(composer, self.draft.tree, settings)
        return replace(self.draft, tree=tree, composer=composer).validated()

    def is_whole(self, name: str, part: Range) -> bool:
        """Whether only whole numbers of a range are searched."""
        return part.whole and name not in self.continuous

    def defaults(self) -> dict[str, Any]:
        """The recipe's own values, by the distributions' names, as far as the space contains them."""
        written = self.base.model_dump(mode="json")
        found: dict[str, Any] = {}
        for path, part in self.space.parts.items():
            chosen = _chosen(part, path, value_at(written, path))
            if chosen is None:
                continue
            setting = Setting(path, draw_part(part, path, lambda name, _, known=chosen: known[name]), self.space.places[path])  # type: ignore[misc]
            if self.recipe([setting]) == self.base:  # entries of a list replace the recipe's, with defaults of their own
                found |= chosen
        return found


def load_candidates(recipe: AnyRecipe, overrides: Overrides, space: Space, threads: int | None = None) -> Candidates:
    """Check a space against a recipe: every option and both ends of every range, each with each of another path.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping or a loaded recipe.
        overrides: ``path.to.field=value``, or values by path.
        space: What may vary.
        threads: Threads of each run, unless an override sets them.

    Raises:
        RecipeError: The recipe or a value is wrong. It lists every mistake found, each with its place.
    """
    draft = draft_recipe(recipe, overrides)
    base = draft.validated()
    if base.sweep:
        raise base.error("sweep", "this recipe is a sweep", "a study varies one recipe: --set sweep=null")
    tree = draft.tree.without("sweep") if isinstance(draft.tree.data, dict) else draft.tree
    draft = replace(draft, tree=with_threads(tree, threads))
    candidates = Candidates(draft, draft.validated(), space, overrides)
    _check(candidates)
    return replace(candidates, continuous=frozenset(_continuous(candidates)))


def _settings(space: Space, values: Mapping[str, Node]) -> list[Setting]:
    return [Setting(path, values[path], space.places[path]) for path in space.parts]


def corners(space: Space) -> Iterator[list[Setting]]:
    """Trials in which every end and every option appears, and every pair of two choices' options; all other paths have their first."""
    by_path = {path: ends(part) for path, part in space.parts.items()}
    first = {path: nodes[0] for path, nodes in by_path.items()}
    yield _settings(space, first)
    for path, nodes in by_path.items():
        for node in nodes[1:]:
            yield _settings(space, {**first, path: node})
    choices = [path for path, part in space.parts.items() if not isinstance(part, Range)]
    for one, other in itertools.combinations(choices, 2):
        for mine, theirs in itertools.product(by_path[one][1:], by_path[other][1:]):
            yield _settings(space, {**first, one: mine, other: theirs})


def _check(candidates: Candidates) -> None:
    problems: dict[Problem, None] = {}
    for settings in corners(candidates.space):
        try:
            candidates.recipe(settings)
        except RecipeError as error:
            problems |= dict.fromkeys(error.problems)
        if len(problems) >= MAX_TOLD:
            break
    if problems:
        raise RecipeError(problems)


def _continuous(candidates: Candidates) -> Iterator[str]:
    """The ranges in whole numbers whose field accepts half a number, too: 1.5 between 1 and 2."""
    space = candidates.space
    first = {path: ends(part)[0] for path, part in space.parts.items()}
    for path, part in space.parts.items():
        for name, node in halves(part, path):
            try:
                candidates.recipe(_settings(space, {**first, path: node}))
            except RecipeError:
                continue
            yield name


def value_at(written: Any, path: str) -> Any:
    """The value at a path in plain data; None if there is none."""
    for key in key_path(path):
        try:
            written = written[key]
        except (KeyError, IndexError, TypeError):
            return None
    return written


def _chosen(part: Part, name: str, value: Any, given: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """What the distributions of a part would have to give for this value; None if they cannot."""
    if isinstance(part, Range):
        return {named(name, given): value} if part.contains(value) else None
    if isinstance(part, Choice):
        for label, option in part.options.items():
            inner = _chosen(option, name, value, (*given, label))
            if inner is not None:
                return {named(name, given): label, **inner}
        return None
    return _within(part, name, value, given)


def _within(part: Value, name: str, value: Any, given: tuple[str, ...]) -> dict[str, Any] | None:
    plain = part.node.plain()
    if isinstance(plain, dict) and isinstance(value, dict):
        keys: list[Any] = list(plain)
        if not set(keys) <= value.keys():
            return None
    elif isinstance(plain, list) and isinstance(value, list) and len(plain) == len(value):
        keys = list(range(len(plain)))
    else:
        return {} if plain == value and isinstance(plain, bool) == isinstance(value, bool) else None
    found: dict[str, Any] = {}
    for key in keys:
        inner = _chosen(part.parts[key], f"{name}.{key}", value[key], given)
        if inner is None:
            return None
        found |= inner
    return found
