"""Loads a recipe: from its file and overrides to a validated `Recipe`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from jepakit import registry
from jepakit.errors import UserError, shown
from jepakit.files.checkpoints import weights_file
from jepakit.recipe.check import retold, retold_fields
from jepakit.recipe.compose import Composer, Overrides, as_yaml, find_recipe, override_texts
from jepakit.recipe.errors import Problem, RecipeError, Source
from jepakit.recipe.identity import data_read, files_read
from jepakit.recipe.schema import Recipe
from jepakit.recipe.slots import InSlot, default_kinds
from jepakit.recipe.tree import KeyPath, Node, key_path
from jepakit.recipe.yaml12 import read_yaml
from jepakit.registry.plugins import Plugin, installed_names, is_file, load_entry_points, load_plugins
from jepakit.registry.signature import ComponentFields

AnyRecipe = str | Path | Mapping[str, Any] | Recipe


def load_recipe(recipe: AnyRecipe, overrides: Overrides = (), seed: int | None = None, run_plugins: bool = True) -> Recipe:
    """Read, compose and validate a recipe.

    Args:
        recipe: A file, the name of a shipped recipe, a mapping with the content of a file, or a loaded recipe.
        overrides: A list of ``path.to.field=value`` whose values are YAML, or a mapping of paths to values; applied in order.
        seed: Short for a last override ``seed=…``.
        run_plugins: Whether to import plug-ins and installed packages' components. Importing runs their code.

    Raises:
        RecipeError: The recipe is wrong. It lists every mistake found, each with its place.
    """
    return draft_recipe(recipe, overrides, seed, run_plugins).validated()


@dataclass(frozen=True)
class Draft:
    """A composed recipe with its plug-ins imported, not yet validated."""

    name: str  #: used if the recipe has no name
    tree: Node
    composer: Composer
    plugins: list[Plugin]
    installed: list[Plugin]
    unimported: tuple[str, ...] = ()  #: plug-ins and installed packages that were not imported

    def validated(self) -> Recipe:
        """Validate the recipe.

        Raises:
            RecipeError: The recipe is wrong.
        """
        problems = list(self.composer.problems)
        values = {"name": self.name} | self.tree.plain()
        _fill_kinds(values, self.composer.default_kinds)
        try:
            valid = Recipe.model_validate_json(json.dumps(values))
        except ValidationError as error:
            incomplete = any(problem.hides for problem in problems)
            problems += retold(error, self.tree, values, [*self.plugins, *self.installed], incomplete, self.unimported)
        if problems:
            raise RecipeError(problems)
        return _files_from_where_they_are_written(valid, self.tree).with_source(self.tree, self.plugins)


def draft_recipe(recipe: AnyRecipe, overrides: Overrides = (), seed: int | None = None, run_plugins: bool = True) -> Draft:
    """Read and compose a recipe and import its plug-ins. The arguments are those of `load_recipe`.

    Raises:
        RecipeError: The recipe cannot be read.
    """
    if isinstance(overrides, str):
        raise TypeError(f"overrides is a list of strings or a mapping: [{overrides!r}]")
    composer = Composer(dict(default_kinds(Recipe)))
    name = "recipe"
    if isinstance(recipe, Recipe):
        tree = composer.values(recipe.model_dump(mode="json"))
        if tree and (sweep := recipe.written_sweep()):
            tree = tree.with_entry("sweep", sweep)
    elif isinstance(recipe, Mapping):
        tree = composer.values(recipe)
    else:
        path = find_recipe(recipe)
        name, tree = _name(path), composer.file(path)
    if tree is None:
        raise RecipeError(composer.problems)
    for source, text in override_texts(overrides, seed):
        tree = composer.override(tree, text, source)
    tree = _plugins_from_where_they_are_written(tree)
    installed = load_entry_points() if run_plugins else []
    plugins = _load_plugins(tree, composer.problems, run_plugins)
    unimported = () if run_plugins else (*(plugin.name for plugin in plugins), *installed_names())
    return Draft(name, tree, composer, plugins, installed, unimported)


def load_component(slot: str, written: str | Mapping[str, Any], name: str, example: str) -> ComponentFields:
    """The fields of a component that stands outside a recipe.

    Args:
        slot: Its slot.
        written: A kind, a mapping with a ``kind``, or YAML of either.
        name: What the user calls it, such as ``--engine``, for messages.
        example: What could be written, for messages.

    Raises:
        UserError: There is no such kind, or a field is wrong.
    """
    problems: list[Problem] = []
    text = written if isinstance(written, str) else as_yaml(name, written)
    node = read_yaml(Source(name, text, Path(), is_file=False), problems)
    if problems:
        raise RecipeError(problems)
    value = node.plain() if node else None
    value = {"kind": value} if isinstance(value, str) else value
    if node is None or not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        kinds = ", ".join(found.kind for found in registry.components(slot))
        raise UserError(f"{name} {shown(text)}: write a kind ({kinds}), or a kind with fields, such as '{example}'")
    try:
        found = registry.component(slot, value["kind"])
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    try:
        return InSlot(slot).validate(value)
    except ValidationError as error:
        raise RecipeError(retold_fields(error, node, value, found)) from None
    except PydanticCustomError as error:
        raise UserError(f"{name}: {error.message()}") from None


def _files_from_where_they_are_written(recipe: Recipe, tree: Node) -> Recipe:
    """Make the paths of files that components read absolute: each starts at the folder of the recipe or override that names it.

    A run's folder becomes the file of its best checkpoint now: the run may go on, and have a better one later.
    """
    full = {}
    data = data_read(recipe)
    for place in (*files_read(recipe), *data):
        node = tree.find(key_path(place))
        if node and isinstance(node.data, str):
            path = os.path.abspath(node.place.source.folder / _expanded(node.data))  # noqa: PTH100 - links stay unresolved
            full[place] = path if place in data else str(weights_file(Path(path)))
    return recipe.with_values(full)


def _name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]|^[.-]", "_", path.stem)[:100] or "recipe"


def _plugins_from_where_they_are_written(tree: Node) -> Node:
    """Make the paths of plug-in files absolute: each starts at the folder of the recipe or override that names it."""

    def full(entry: Node) -> Node:
        if isinstance(entry.data, str) and is_file(entry.data):
            return replace(entry, data=str(entry.place.source.folder / _expanded(entry.data)))
        return entry

    plugins = tree.get("plugins")
    if not plugins or not isinstance(plugins.data, list):
        return tree
    return tree.with_entry("plugins", replace(plugins, data=[full(entry) for entry in plugins.data]))


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~name` of an unknown user
        return Path(path)


def _load_plugins(tree: Node, problems: list[Problem], run: bool) -> list[Plugin]:
    node = tree.get("plugins")
    entries = [entry for entry in node.data if isinstance(entry.data, str)] if node and isinstance(node.data, list) else []
    loaded = []
    for entry, found in zip(entries, load_plugins([str(entry.data) for entry in entries], run), strict=True):
        if isinstance(found, Plugin):
            loaded.append(found)
        else:
            problems.append(Problem(entry.place, str(found), hides=True))
    return loaded


def _fill_kinds(values: dict[str, Any], kinds: Mapping[KeyPath, str]) -> None:
    for path, kind in kinds.items():
        value: Any = values if kind else None
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, dict):
            value.setdefault("kind", kind)


def code_named(recipe: Mapping[str, Any]) -> list[str]:
    """The code that a recipe's values would run: plug-ins, an env's module and wrappers, what a collector's cluster sends."""
    plugins = recipe.get("plugins") or []
    named = [f"the plug-in `{entry}`" for entry in (plugins if isinstance(plugins, list) else [plugins])]
    env = recipe.get("env")
    env = env if isinstance(env, dict) else {}
    id, wrappers = env.get("id"), env.get("wrappers")
    if isinstance(id, str) and ":" in id:
        named.append(f"the module `{id.partition(':')[0]}` of the env's id")
    for wrapper in wrappers if isinstance(wrappers, list) else []:
        named.append(f"the env's wrapper `{wrapper.get('path') if isinstance(wrapper, dict) else wrapper}`")
    collector = recipe.get("collector")
    address = collector.get("address") if isinstance(collector, dict) else None
    if address and address != "auto":  # a cluster of somebody else's sends objects that are unpickled here
        named.append(f"the cluster `{address}` of the collector")
    return named
