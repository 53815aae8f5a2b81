"""The table of all components: (slot, kind) -> class, place of registration, and the fields that a recipe may write."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from jepakit.errors import UserError, listing, shown, suggestion
from jepakit.registry.docstrings import Docstring, read_docstring
from jepakit.registry.nearby import file_registering
from jepakit.registry.signature import ComponentFields, NameTaken, RegistrationError, context_and_fields
from jepakit.registry.slots import CONTEXT, SLOTS

T = TypeVar("T")
FILE_MODULE = "jepakit_plugin_"  #: begins the names of the modules of plug-ins that are files


@dataclass(frozen=True)
class Component:
    """A registered class."""

    slot: str
    kind: str
    cls: type
    context: tuple[str, ...]
    fields: type[ComponentFields]
    place: str  #: ``file:line`` of its registration
    doc: Docstring
    digest: str = ""  #: SHA-256 of that file as it was then; empty for jepakit's own, and where there is no file

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
        """The paper and equation that it implements."""
        return self.doc.source

    @property
    def file(self) -> str:
        """The source file that registered it."""
        return self.place.rpartition(":")[0]

    @property
    def is_from_file(self) -> bool:
        """Whether a plug-in that is a file registered it: its class cannot be imported by a module's name."""
        return str(self.cls.__module__).startswith(FILE_MODULE)

    @property
    def missing(self) -> str | None:
        """The command that installs a missing module (the class's ``requires``: module -> command); None if all are installed."""
        requires: dict[str, str] = getattr(self.cls, "requires", {})
        return next((command for module, command in requires.items() if importlib.util.find_spec(module) is None), None)

    def is_again(self, other: Component) -> bool:
        """Whether this is ``other`` registered again.

        Its module was reloaded, its file imported twice, or copied into a run's folder, or its notebook cell was run again.
        """
        same_home = self.cls.__module__ == other.cls.__module__ or self.file == other.file
        if self.is_from_file != other.is_from_file:
            same_home |= Path(self.file).name == Path(other.file).name
        return same_home and self.cls.__qualname__ == other.cls.__qualname__


_table: dict[tuple[str, str], Component] = {}
_registered: WeakKeyDictionary[type, dict[str, Component]] = WeakKeyDictionary()  #: by class and slot, whatever the kind means now
_loaded: set[str] = set()


def register(slot: str, kind: str) -> Callable[[type[T]], type[T]]:
    """Register a class, so that recipes can use it as ``{kind: <kind>}`` in a slot.

    The constructor's signature is the single source of truth. Parameters before ``*`` are context, supplied by name (see ``CONTEXT``).
    Parameters after ``*`` are the recipe's fields, typed by their annotations and described by the docstring's ``Args:``.

    Args:
        slot: The slot's name, such as ``"encoder"``.
        kind: The name that recipes use: lower-case letters, digits and underscores.

    Raises:
        RegistrationError: The signature breaks these rules, or another class has the name.
    """

    def decorate(cls: type[T]) -> type[T]:
        caller = sys._getframe(1)
        place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        try:
            found = _examine(slot, kind, cls, place)
        except RegistrationError as error:
            raise type(error)(f"{place}: cannot register {getattr(cls, '__name__', cls)} as {slot} `{kind}`: {error}") from error
        _table[slot, kind] = found
        _registered.setdefault(cls, {})[slot] = found
        return cls

    return decorate


def _examine(slot: str, kind: str, cls: type, place: str) -> Component:
    if slot not in SLOTS:
        raise RegistrationError(f"there is no slot `{slot}`; the slots are {listing(SLOTS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind):
        raise RegistrationError("write a kind in lower-case letters, digits and underscores, a letter first")
    if not inspect.isclass(cls):
        raise RegistrationError("a component must be a class")
    if not isinstance(getattr(cls, "requires", {}), dict):
        raise RegistrationError("write `requires` as {module: command}, with the command that installs each module")
    rules = SLOTS[slot]
    doc = read_docstring(cls.__dict__.get("__doc__"))
    meanings: dict[str, str] = {}
    for each in reversed(cls.__mro__):  # a subclass need not describe its base's fields again
        for text in (each.__dict__.get("__doc__"), getattr(each.__dict__.get("__init__"), "__doc__", None)):
            meanings |= read_docstring(text).arguments
    context, fields = context_and_fields(cls, kind, rules.fields, {name: CONTEXT[name] for name in rules.context}, meanings)
    found = Component(slot, kind, cls, context, fields, place, doc, _digest_of(cls, Path(place.rpartition(":")[0])))
    fields.component = found
    before = _table.get((slot, kind))
    if before and not found.is_again(before):
        raise NameTaken(f"the name is taken by {before.cls.__qualname__} at {before.place}; rename one of the two")
    return found


def _digest_of(cls: type, file: Path) -> str:
    own = str(cls.__module__).partition(".")[0] == "jepakit"
    return "" if own or not file.is_file() else hashlib.sha256(file.read_bytes()).hexdigest()


def component_of(slot: str, cls: type) -> Component | None:
    """The component that ``cls`` was registered as; its kind means this class again. None if it was not."""
    found = _registered.get(cls, {}).get(slot)
    if found:
        _table[slot, found.kind] = found
    return found


def component(slot: str, kind: str) -> Component:
    """The component of this slot and kind.

    Raises:
        UserError: It does not exist; the message suggests the closest name.
    """
    if (slot, kind) not in _table:
        load_builtins()
    if (slot, kind) not in _table:
        kinds = [known.kind for known in components(slot)]
        file = file_registering(slot, kind, Path())
        advice = suggestion(kind, kinds, "there are")
        if file:
            path = shown(str(file))
            advice = f"{path} registers it: add --plugins {path}, or in a recipe `plugins: [{path}]`"
        raise UserError(f"unknown {slot} `{kind}`; {advice}")
    return _table[slot, kind]


def components(slot: str | None = None) -> list[Component]:
    """All registered components, of one slot or of all, ordered by slot and then by kind.

    Raises:
        UserError: The slot does not exist.
    """
    if slot is not None and slot not in SLOTS:
        raise UserError(f"there is no slot `{slot}`; {suggestion(slot, SLOTS, 'the slots are')}")
    load_builtins()
    order = list(SLOTS)
    found = [known for known in _table.values() if slot in (None, known.slot)]
    return sorted(found, key=lambda known: (order.index(known.slot), known.kind))


def build(slot: str, config: ComponentFields, **context: Any) -> Any:
    """Build a component from its fields and the part of ``context`` that its constructor asks for.

    Raises:
        UserError: The component needs a module that is not installed.
    """
    found: Component = config.component
    if found.slot != slot:
        raise TypeError(f"a {found.slot} cannot stand in the slot `{slot}`")
    if found.missing:
        raise UserError(f"kind `{found.kind}` needs a module that is not installed: {found.missing}")
    # A copy: a component that changes its list would change the recipe, which other builds read.
    fields = {
        name: copy.deepcopy(getattr(config, name)) for name in type(config).model_fields if name not in SLOTS[slot].fields.model_fields
    }
    return found.cls(**{name: context[name] for name in found.context}, **fields)


def forget(is_meant: Callable[[str], bool]) -> None:
    """Unregister the components of every module for whose name ``is_meant`` returns True."""
    for name, known in list(_table.items()):
        if is_meant(known.cls.__module__):
            del _table[name]
    for cls in list(_registered):
        if is_meant(str(cls.__module__)):  # None of a class that says so
            del _registered[cls]


def load_builtins() -> None:
    """Import every module of every slot's package, so that the table never depends on earlier imports."""
    for slot in SLOTS.values():
        if slot.package in _loaded or importlib.util.find_spec(slot.package) is None:
            continue
        package = importlib.import_module(slot.package)
        for module in pkgutil.walk_packages(package.__path__, f"{slot.package}."):
            importlib.import_module(module.name)
        _loaded.add(slot.package)
