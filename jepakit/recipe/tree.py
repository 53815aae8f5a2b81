"""A recipe before validation: plain values, each with the place where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jepakit.errors import shown
from jepakit.recipe.errors import Place

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """A path for messages, such as ``encoder.dim``."""
    return ".".join(shown(str(key), 40) for key in path)


def key_path(path: str) -> KeyPath:
    """Split a path such as ``regularizers.0.weight`` into keys and indices."""
    return tuple(int(step) if step.isdecimal() else step for step in path.split(".")) if path else ()


@dataclass(frozen=True)
class Node:
    """A value and where it is written."""

    data: bool | int | float | str | list[Node] | dict[str, Node] | None
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)  #: where a mapping's keys are written
    replaced: Node | None = None  #: the component of another kind that this one was laid over, all of whose fields are gone

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.data, dict):
            return {key: node.plain() for key, node in self.data.items()}
        if isinstance(self.data, list):
            return [node.plain() for node in self.data]
        return self.data

    def get(self, key: str | int) -> Node | None:
        """The entry of a mapping or list; None if there is none."""
        if isinstance(self.data, dict):
            return self.data.get(str(key))
        if isinstance(self.data, list) and isinstance(key, int) and 0 <= key < len(self.data):
            return self.data[key]
        return None

    def find(self, path: Iterable[str | int]) -> Node | None:
        """The value at a path; None if it is not written."""
        node: Node | None = self
        for key in path:
            node = node.get(key) if node else None
        return node

    def places(self) -> Iterator[Place]:
        """Where it is written; of a mapping that recipes have merged, where each of its entries is."""
        if isinstance(self.data, dict) and self.data:
            for node in self.data.values():
                yield from node.places()
        else:
            yield self.place

    def components_replaced(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """The path of every component whose kind was changed, and the component of the old kind."""
        if self.replaced:
            yield path, self.replaced
        entries = self.data.items() if isinstance(self.data, dict) else enumerate(self.data) if isinstance(self.data, list) else ()
        for key, node in entries:
            yield from node.components_replaced((*path, key))

    def nearest_place(self, path: KeyPath, of_key: bool = False) -> Place:
        """Where the value (or its key) is written, or else the key of the nearest block around it."""
        node = self.find(path)
        if not path:
            return self.place
        if node and not of_key:
            return node.place
        parent = self.find(path[:-1])
        if parent and path[-1] in parent.keys:
            return parent.keys[str(path[-1])]
        return node.place if node else self.nearest_place(path[:-1], of_key=True)

    def without(self, key: str) -> Node:
        """A mapping without one entry."""
        assert isinstance(self.data, dict)
        return replace(self, data={name: node for name, node in self.data.items() if name != key})

    def with_entry(self, key: str, value: Node) -> Node:
        """A mapping with another value at one of its keys."""
        assert isinstance(self.data, dict)
        return replace(self, data=self.data | {key: value})

    def merged(self, over: Node, default_kinds: Mapping[KeyPath, str], path: KeyPath = ()) -> Node:
        """This value with ``over`` on top: mappings merge, all else is replaced, a component's new ``kind`` drops the old kind's fields.

        Args:
            over: The value on top.
            default_kinds: By a component's path, the kind that a mapping without ``kind`` means; empty if it means none.
            path: This value's path in the recipe.
        """
        if not (isinstance(self.data, dict) and isinstance(over.data, dict)):
            return over
        component = _outside_a_sweep(path)
        if component in default_kinds and "kind" in over.data:
            mine = self.data["kind"].data if "kind" in self.data else default_kinds[component]
            if mine and mine != over.data["kind"].data:
                return replace(over, replaced=self)
        data = dict(self.data)
        for key, node in over.data.items():
            data[key] = data[key].merged(node, default_kinds, (*path, key)) if key in data else node
        return Node(data, over.place, self.keys | over.keys, self.replaced)


def _outside_a_sweep(path: KeyPath) -> KeyPath:
    """The path as `default_kinds` has it: of a value in a sweep's case that of the recipe's own, of a list's entry that of the first."""
    recipes_own = path[3:] if path[:2] == ("sweep", "cases") else path
    return tuple(0 if isinstance(key, int) else key for key in recipes_own)
