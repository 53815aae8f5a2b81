"""Composes a recipe: its file, the recipes that it extends, and the overrides on top."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jepakit.errors import listing, nearest, shown, suggestion
from jepakit.files.reading import Unreadable, read_bytes
from jepakit.recipe.errors import Place, Problem, RecipeError, Source, shown_path
from jepakit.recipe.shipped import shipped_recipes
from jepakit.recipe.tree import KeyPath, Node, dotted, key_path
from jepakit.recipe.yaml12 import read_yaml

Overrides = Sequence[str] | Mapping[str, Any]  #: ``path.to.field=value``, or values by path

MAX_BYTES = 256 * 1024
MAX_CHAIN = 20  #: recipes that extend one another in a chain
MAX_PARENTS = 100  #: recipes named in all `extends` of one recipe
MAX_STEPS = 30  #: steps of an override's path

Layers = dict[Path | None, Node]  #: what each recipe itself writes, by its file: those that it extends first, each once


def find_recipe(name: str | Path) -> Path:
    """The recipe file at a path, or the file of a shipped recipe.

    Raises:
        RecipeError: ``name`` is neither.
    """
    path = Path(name)
    shipped = shipped_recipes()
    try:
        if path.exists() and not (path.is_dir() and str(name) in shipped):
            return path
    except (OSError, ValueError) as error:
        raise RecipeError([Problem(None, f"cannot read the recipe `{shown(str(name))}`: {_reason(error)}")]) from error
    if str(name) in shipped:
        return shipped[str(name)]
    beside = [str(file) for file in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
    near = nearest(str(name), [*shipped, *beside])
    advice = (f"did you mean `{shown(near)}`? " if near else "") + f"shipped recipes: {listing(shipped) or 'none'}"
    raise RecipeError([Problem(None, f"there is no recipe `{shown(str(name))}`: neither a file nor the name of a shipped recipe", advice)])


class Composer:
    """Composes a recipe and collects the problems found on the way."""

    def __init__(self, default_kinds: Mapping[KeyPath, str]) -> None:
        self.default_kinds = default_kinds
        self.problems: list[Problem] = []
        self._read: dict[Path, Layers] = {}  # a recipe that is extended twice is read once
        self._overridden: list[str] = []
        self._parents = 0

    def file(self, path: Path) -> Node | None:
        """A recipe's file, merged over the recipes that it extends."""
        return self._merged(self._file(path, (), None))

    def values(self, values: Mapping[str, Any]) -> Node | None:
        """A recipe given as a mapping, merged over the recipes that it extends. Relative paths start at the current folder.

        Raises:
            RecipeError: It holds a value that no recipe can hold.
        """
        text = as_yaml("the recipe", values, indent=1)
        return self._merged(self._layers(Source("the recipe", text, Path.cwd(), is_file=False), (), None))

    def _merged(self, layers: Layers) -> Node | None:
        result: Node | None = None
        for layer in layers.values():
            result = result.merged(layer, self.default_kinds) if result else layer
        return result

    def _file(self, path: Path, chain: tuple[Path, ...], asked_at: Place | None) -> Layers:
        """The layers of a file. ``chain``: the files that extend it, outermost first; ``asked_at``: the `extends` that names it."""
        path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay unresolved: in a linked file, paths in `extends` start at the link
        real = [os.path.realpath(step) for step in (*chain, path)]
        if real[-1] in real[:-1]:
            steps = " -> ".join(shown_path(step) for step in (*chain[real.index(real[-1]) :], path))
            self.problems.append(Problem(asked_at, f"these recipes extend each other in a circle: {steps}", hides=True))
            return {}
        if len(chain) > MAX_CHAIN:
            self.problems.append(Problem(asked_at, f"more than {MAX_CHAIN} recipes extend one another", hides=True))
            return {}
        if path not in self._read:
            source = self._source(path, asked_at)
            self._read[path] = self._layers(source, (*chain, path), path) if source else {}
        return self._read[path]

    def _source(self, path: Path, asked_at: Place | None) -> Source | None:
        content = b""
        try:
            content = read_bytes(path, MAX_BYTES)
            return Source(str(path), content.decode().removeprefix("\ufeff"), path.parent)
        except UnicodeDecodeError as error:
            # Point at the bad byte: the text before it decodes, and its line is shown with the byte replaced.
            before = content[: error.start].decode().split("\n")
            asked_at = Place(Source(str(path), content.decode("utf-8", "replace"), path.parent), len(before), len(before[-1]) + 1)
            wrong = f"the byte 0x{content[error.start]:02x} is not UTF-8"
        except Unreadable as error:
            wrong = str(error)
        self.problems.append(Problem(asked_at, f"cannot read the recipe {shown_path(path)}: {wrong}", hides=True))
        return None

    def _layers(self, source: Source, chain: tuple[Path, ...], path: Path | None) -> Layers:
        before = len(self.problems)
        node = read_yaml(source, self.problems)
        if node is None and len(self.problems) > before:
            return {}
        if node is None or not isinstance(node.data, dict):
            wrong = "the recipe is empty" if node is None or node.data is None else "a recipe is a mapping of fields"
            self.problems.append(Problem(node.place if node else Place(source), wrong, "write `env: …`, `encoder: …`", hides=True))
            return {}
        if "extends" not in node.data:
            return {path: node}
        extends = node.data["extends"]
        entries = extends.data if isinstance(extends.data, list) else [extends]
        self._parents += len(entries)
        if self._parents > MAX_PARENTS:
            self.problems.append(Problem(extends.place, f"more than {MAX_PARENTS} recipes to extend", hides=True))
            return {}
        parents = [found for entry in entries if (found := self._parent(entry, chain))]
        return self._joined(parents, extends.place) | {path: node.without("extends")}

    def _joined(self, parents: list[Layers], place: Place) -> Layers:
        """The layers of several recipes, each once: below all that extend it, and in the order of every list that names it.

        Laid again, what two of them extend would undo what the first one writes. This is Python's order of base classes (C3), from below.
        """
        layers = {file: layer for parent in parents for file, layer in parent.items()}
        orders = [list(parent) for parent in parents] + [list(dict.fromkeys(list(parent)[-1] for parent in parents))]
        joined: Layers = {}
        while orders := [order for order in orders if order]:
            later = {file: order[0] for order in orders for file in order[1:]}
            lowest = next((order[0] for order in orders if order[0] not in later), None)
            if lowest is None:
                one, other = orders[0][0], later[orders[0][0]]
                wrong = f"of {shown_path(str(one))} and {shown_path(str(other))} each would have to lie below the other"
                self.problems.append(Problem(place, wrong, "leave out of the list what another entry of it extends", hides=True))
                return layers
            joined[lowest] = layers[lowest]
            orders = [order[1:] if order[0] == lowest else order for order in orders]
        return joined

    def _parent(self, entry: Node, chain: tuple[Path, ...]) -> Layers:
        if not isinstance(entry.data, str) or not entry.data:
            advice = "write a recipe's path or name, or a list of them"
            self.problems.append(Problem(entry.place, "`extends` names no recipe here", advice, hides=True))
            return {}
        path, shipped = entry.place.source.folder / entry.data, shipped_recipes()
        try:
            if not path.is_file() and entry.data in shipped:
                path = shipped[entry.data]
            missing = not path.exists()
        except (OSError, ValueError):
            missing = False  # reading the file will report why
        if missing:
            advice = suggestion(entry.data, shipped, f"paths start at {shown_path(path.parent)}; shipped recipes")
            self.problems.append(Problem(entry.place, f"there is no recipe `{shown(entry.data)}` to extend", advice, hides=True))
            return {}
        return self._file(path, chain, entry.place)

    def override(self, recipe: Node, text: str, name: str) -> Node:
        """The recipe with one override ``path.to.field=value`` applied."""
        source = Source(name, text, Path.cwd(), is_file=False)
        written, equals, _ = text.partition("=")
        if not equals or not can_be_path(written):
            self.problems.append(Problem(Place(source), "not an override: write `path.to.field=value`"))
            return recipe
        if written.partition(".")[0] == "extends":
            self.problems.append(Problem(Place(source), "`extends` cannot be overridden", "write a recipe that extends the other"))
            return recipe
        if text[len(written) + 1 :].lstrip().startswith("#"):
            self.problems.append(Problem(Place(source), "a value that begins with `#` is a comment", f"{written}='\"#…\"'"))
            return recipe
        before = len(self.problems)
        value = read_yaml(source, self.problems, start=len(written) + 1)
        if value is None:
            if len(self.problems) > before:
                return recipe
            value = Node(None, Place(source, 1, len(text)))
        laid = self.lay(recipe, written, value, Place(source))
        for earlier in self._overridden:
            path = key_path(earlier)
            within = laid.find(path[:-1])
            if recipe.find(path) and not laid.find(path) and within and isinstance(within.data, dict):
                wrong = f"`{written}` discards `{earlier}`, which was set before it: a new kind drops the old kind's fields"
                self.problems.append(Problem(Place(source), wrong, f"set `{written}` first"))
        self._overridden.append(written)
        return laid

    def lay(self, recipe: Node, path: str, value: Node, written: Place) -> Node:
        """The recipe with a value set at a path.

        Args:
            recipe: The recipe to change.
            path: Such as ``encoder.dim``.
            value: The value.
            written: Where the path is written.
        """
        steps = path.split(".")
        if len(steps) > MAX_STEPS:
            self.problems.append(Problem(written, f"a path of {len(steps):,} steps", f"write at most {MAX_STEPS}"))
            return recipe
        return self._laid(recipe, steps, value, written, ())

    def _laid(self, base: Node | None, path: Sequence[str], value: Node, written: Place, at: KeyPath) -> Node:
        if not path:
            return base.merged(value, self.default_kinds, at) if base else value
        key, rest = path[0], path[1:]
        place = replace(written, column=written.column + sum(len(str(step)) + 1 for step in at))
        if base and isinstance(base.data, list):
            index = next((index for index in range(len(base.data)) if str(index) == key), None)
            if index is None:
                entries = f"its entries are 0 to {len(base.data) - 1}" if base.data else "it is empty"
                wrong = f"`{dotted(at)}` has no entry `{shown(key)}`"
                self.problems.append(Problem(place, wrong, f"{entries}; `{dotted(at)}=[…]` replaces the list"))
                return base
            entry = self._laid(base.data[index], rest, value, written, (*at, index))
            return replace(base, data=[*base.data[:index], entry, *base.data[index + 1 :]])
        child = self._laid(base.get(key) if base else None, rest, value, written, (*at, key))
        layer = Node({key: child}, place, {key: place})
        if not base:
            return layer
        merged = base.merged(layer, self.default_kinds, at)
        # A field that the recipe's file lacks is reported there, not at an override of the same mapping, unless that has another kind.
        laid = merged.data if isinstance(merged.data, dict) else {}
        kept = {name: place for name, place in base.keys.items() if name in laid and not (name == key and laid[name].replaced)}
        return merged if merged is layer else replace(merged, place=base.place, keys=merged.keys | kept)


def can_be_path(text: str) -> bool:
    """Whether a text has the form ``path.to.field``: no empty steps, no spaces, no lone surrogates."""
    return bool(re.fullmatch(r"[^\s.]+(\.[^\s.]+)*", text)) and not re.search("[\ud800-\udfff]", text)


def override_texts(overrides: Overrides, seed: int | None) -> list[tuple[str, str]]:
    """Each override's name for messages and its text, in the order of application.

    Raises:
        RecipeError: A recipe cannot hold a value.
    """
    if isinstance(overrides, Mapping):
        texts = [(f"overrides[{path!r}]", f"{path}={as_yaml(f'overrides[{path!r}]', value)}") for path, value in overrides.items()]
    else:
        texts = [(f"--set #{number}", text) for number, text in enumerate(overrides, start=1)]
    return texts if seed is None else [*texts, ("--seed", f"seed={seed}")]


def as_yaml(name: str, value: object, indent: int | None = None) -> str:
    """A Python value as JSON, which is also YAML; paths and devices become text, blocks of a loaded recipe mappings."""

    def plain(odd: object) -> object:
        if isinstance(odd, os.PathLike):
            return os.fspath(odd)
        if isinstance(odd, BaseModel):
            return odd.model_dump(mode="json")
        if isinstance(odd, Enum):
            return odd.value
        if str(type(odd)) == "<class 'torch.device'>":  # torch need not be imported here
            return str(odd)
        if isinstance(odd, (set, frozenset, Iterator)) or not hasattr(odd, "tolist"):
            raise TypeError(f"a recipe cannot hold a {type(odd).__name__}")
        return odd.tolist()  # a NumPy or torch number or array

    try:
        text = json.dumps(value, default=plain, indent=indent, ensure_ascii=False, allow_nan=False)
        return re.sub("[\x85\u2028\u2029]", lambda odd: f"\\u{ord(odd[0]):04x}", text)  # line breaks in YAML
    except (TypeError, ValueError, RecursionError) as error:
        raise RecipeError([Problem(None, f"{name}: {error}", "write numbers, texts, lists, mappings, true, false and null")]) from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
