"""The reference of the public Python API: ``jepakit.__all__`` with signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import jepakit
from docs.site.markdown import docstring
from docs.site.markdown import page as blocks

WIDE = 100  #: characters; a longer signature gets one line an argument


def page() -> str:
    """The page of the public names."""
    things = {name: getattr(jepakit, name) for name in jepakit.__all__}
    functions = {name: thing for name, thing in things.items() if inspect.isfunction(thing)}
    rest = {name: thing for name, thing in things.items() if name not in functions}
    returned = {kind.__name__: kind for function in functions.values() for kind in _returned(function) if kind not in rest.values()}
    return blocks(
        "# Python API",
        "The public names of `jepakit`. [From scripts and notebooks](../python.md) shows them at work.",
        "## Functions",
        *(part for name, thing in functions.items() for part in _function(name, thing)),
        "## What they return",
        *(part for name, thing in returned.items() for part in _class(name, thing)),
        "## Protocols and types",
        "A component need not inherit from these: a class with the methods of its slot's protocol fits.",
        *(part for name, thing in rest.items() for part in _class(name, thing)),
    )


def _returned(function: Any) -> Iterator[type]:
    """The classes of jepakit in a function's return annotation."""
    for word in re.findall(r"\w+", str(inspect.signature(function).return_annotation)):
        kind = function.__globals__.get(word)
        if inspect.isclass(kind) and kind.__module__.startswith("jepakit."):
            yield kind


def _function(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}"
    yield f"```python\n{_signature('jepakit.' + name, thing)}\n```"
    yield docstring(thing)


def _class(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}"
    yield docstring(thing)
    values = {each: kind for each, kind in inspect.get_annotations(thing).items() if not each.startswith(("_", "model_"))}
    properties = {each: kind.fget for each, kind in vars(thing).items() if isinstance(kind, property) and kind.fget}
    values |= {each: inspect.signature(read).return_annotation for each, read in properties.items()}
    if values and thing is not jepakit.Recipe:  # whose fields have a page of their own
        yield (
            "```python\n"
            + "\n".join(f"{each}: {getattr(kind, '__forward_arg__', kind)}" for each, kind in values.items() if not each.startswith("_"))
            + "\n```"
        )
    for method, function in vars(thing).items():
        ours = inspect.isfunction(function) and function.__module__.startswith("jepakit.") and function.__doc__
        if ours and (not method.startswith("_") or method == "__call__"):
            yield f"```python\n{_signature(method, function)}\n```"
            yield docstring(function)


def _signature(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parameters = []
    for each in signature.parameters.values():
        if each.name == "self":
            continue
        if each.kind is each.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        stars = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        default = "" if each.default is each.empty else f" = {each.default!r}"
        parameters.append(f"{stars}{each.name}" + ("" if each.annotation is each.empty else f": {each.annotation}") + default)
    returned = "" if signature.return_annotation is signature.empty else f" -> {signature.return_annotation}"
    line = f"{name}({', '.join(parameters)}){returned}"
    return line if len(line) <= WIDE else f"{name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){returned}"
