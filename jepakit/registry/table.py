"""The one table of components: (slot, kind) -> class, place, and the fields that a recipe may write."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from jepakit.errors import UserError, listing, suggestion
from jepakit.registry.docstrings import Docstring, read_docstring
from jepakit.registry.signature import ComponentFields, NameTaken, RegistrationError, context_and_fields
from jepakit.registry.slots import CONTEXT, SLOTS

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """A registered class and what is known of it."""

    slot: str
    kind: str
    cls: type
    context: tuple[str, ...]
    fields: type[ComponentFields]
    place: str  #: ``file:line`` of its registration
    doc: Docstring

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return self.doc.summary

    @property
    def description(self) -> str:
        """The docstring's paragraphs after the first line."""
        return self.doc.description

    @property
    def source(self) -> str:
        """Paper and equation."""
        return self.doc.source

    @property
    def file(self) -> str:
        """The source file that registered it."""
        return self.place.rpartition(":")[0]

    @property
    def missing(self) -> str | None:
        """The command that installs what the component lacks (its class's ``requires``: module -> command); None: nothing."""
        requires: dict[str, str] = getattr(self.cls, "requires", {})
        return next((command for module, command in requires.items() if importlib.util.find_spec(module) is None), None)

    def is_again(self, other: Component) -> bool:
        """Whether this is ``other``, registered anew: its module was reloaded, its file imported twice, its notebook cell run again."""
        same_home = self.cls.__module__ == other.cls.__module__ or self.file == other.file
        return same_home and self.cls.__qualname__ == other.cls.__qualname__


_table: dict[tuple[str, str], Component] = {}
_loaded: set[str] = set()


def register(slot: str, kind: str) -> Callable[[type[T]], type[T]]:
    """Make a class choosable in recipes as ``{kind: <kind>}`` of a slot.

    The constructor's signature is the single source of truth: what stands before ``*`` is context, supplied by name (see ``CONTEXT``); what
    stands after ``*`` is what a recipe may write, typed by its annotation and described by the docstring's ``Args:``.

    Args:
        slot: The slot's name, such as ``"encoder"``.
        kind: The name that recipes use: lower-case letters, digits and underscores.

    Raises:
        RegistrationError: The signature does not fit, or another class has that name already.
    """

    def decorate(cls: type[T]) -> type[T]:
        caller = sys._getframe(1)
        place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        try:
            found = _examine(slot, kind, cls, place)
        except RegistrationError as error:
            raise type(error)(f"{place}: cannot register {getattr(cls, '__name__', cls)} as {slot} `{kind}`: {error}") from error
        _table[slot, kind] = found
        return cls

    return decorate


def _examine(slot: str, kind: str, cls: type, place: str) -> Component:
    if slot not in SLOTS:
        raise RegistrationError(f"there is no slot `{slot}`; the slots are {listing(SLOTS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind):
        raise RegistrationError("a kind's name has lower-case letters, digits and underscores only")
    if not inspect.isclass(cls):
        raise RegistrationError("a component is a class")
    if not isinstance(getattr(cls, "requires", {}), dict):
        raise RegistrationError("`requires` says by which command each module that is needed is installed: {module: command}")
    rules = SLOTS[slot]
    doc = read_docstring(cls.__dict__.get("__doc__"))
    meanings: dict[str, str] = {}
    for each in reversed(cls.__mro__):  # a subclass need not describe its base's fields again
        for text in (each.__dict__.get("__doc__"), getattr(each.__dict__.get("__init__"), "__doc__", None)):
            meanings |= read_docstring(text).arguments
    context, fields = context_and_fields(cls, kind, rules.fields, {name: CONTEXT[name] for name in rules.context}, meanings)
    found = Component(slot, kind, cls, context, fields, place, doc)
    fields.component = found
    before = _table.get((slot, kind))
    if before and not found.is_again(before):
        raise NameTaken(f"the name is taken by {before.cls.__qualname__} at {before.place}; one of the two needs another name")
    return found


def component(slot: str, kind: str) -> Component:
    """The component of that name.

    Raises:
        UserError: There is none; the message names the nearest.
    """
    if (slot, kind) not in _table:
        load_builtins()
    if (slot, kind) not in _table:
        kinds = [known.kind for known in components(slot)]
        raise UserError(f"unknown {slot} `{kind}`; {suggestion(kind, kinds, 'there are')}")
    return _table[slot, kind]


def components(slot: str | None = None) -> list[Component]:
    """All components that are registered, of one slot or of all, in the order of the slots and then by kind.

    Raises:
        UserError: There is no such slot.
    """
    if slot is not None and slot not in SLOTS:
        raise UserError(f"there is no slot `{slot}`; {suggestion(slot, SLOTS, 'the slots are')}")
    load_builtins()
    order = list(SLOTS)
    found = [known for known in _table.values() if slot in (None, known.slot)]
    return sorted(found, key=lambda known: (order.index(known.slot), known.kind))


def build(slot: str, config: ComponentFields, **context: Any) -> Any:
    """Make a component from its fields and from that part of ``context`` which its constructor asks for.

    Raises:
        UserError: The component needs a module that is not installed.
    """
    found: Component = config.component
    if found.slot != slot:
        raise TypeError(f"a {found.slot} cannot stand in the slot `{slot}`")
    if found.missing:
        raise UserError(f"kind `{found.kind}` needs what is not installed: {found.missing}")
    fields = {name: getattr(config, name) for name in type(config).model_fields if name not in SLOTS[slot].fields.model_fields}
    return found.cls(**{name: context[name] for name in found.context}, **fields)


def forget(is_meant: Callable[[str], bool]) -> None:
    """Take back what modules registered; ``is_meant`` is asked with each module's name."""
    for name, known in list(_table.items()):
        if is_meant(known.cls.__module__):
            del _table[name]


def load_builtins() -> None:
    """Import every module of every slot's package, so that what is registered never depends on who imported what."""
    for slot in SLOTS.values():
        if slot.package in _loaded or importlib.util.find_spec(slot.package) is None:
            continue
        package = importlib.import_module(slot.package)
        for module in pkgutil.walk_packages(package.__path__, f"{slot.package}."):
            importlib.import_module(module.name)
        _loaded.add(slot.package)
