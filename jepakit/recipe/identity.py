"""A run's id: a short hash of what decides its results, and of nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from jepakit.errors import UserError
from jepakit.files.reading import read_bytes
from jepakit.recipe.schema import Recipe, besides_results, holds_blocks
from jepakit.registry import Component
from jepakit.registry.signature import ComponentFields

MAX_BYTES = 8 * 1024**3  #: of one file of weights


def recipe_id(recipe: Recipe) -> str:
    """Ten hexadecimal digits: the resolved recipe with its seed, and the contents of its plug-ins.

    Raises:
        UserError: The source of a plug-in or of a component cannot be read.
    """
    decides = {"recipe": _deciding(recipe), "sources": source_digests(recipe)}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:10]


def source_digests(recipe: Recipe) -> list[str]:
    """SHA-256 of all code from outside that the recipe has part in.

    Raises:
        UserError: The source of a plug-in or of a component cannot be read.
    """
    return sorted(set(_sources(recipe)))


def _deciding(value: Any) -> Any:
    """A block's values as JSON has them, without those that are defaults and the fields that are marked as `BesidesResults`.

    A field that a later jepakit adds, with what was done before as its default, leaves the ids of earlier runs alone.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        names = fields.keys() - besides_results(type(value))
        blocks = {name: getattr(value, name) for name in names if holds_blocks(getattr(value, name))}
        chosen = {name for name in names if name not in blocks and (name == "kind" or _differ(getattr(value, name), fields[name].default))}
        decided = {name: _deciding(block) for name, block in blocks.items()}
        return value.model_dump(mode="json", include=chosen) | {name: decides for name, decides in decided.items() if decides}
    return [_deciding(entry) for entry in value]


def _differ(value: Any, default: Any) -> bool:
    return value != default or isinstance(value, bool) != isinstance(default, bool)  # 1 and true are equal in Python


def _sources(recipe: Recipe) -> Iterator[str]:
    """Digests of the plug-ins, and of every used component's file outside jepakit: one that an installed package registers, say."""
    for plugin in recipe.loaded_plugins:
        if plugin.digest is None:
            raise UserError(f"the plug-in `{plugin.name}` was not imported, so the recipe has no id")
        yield plugin.digest
    own = {plugin.file for plugin in recipe.loaded_plugins}
    for fields in _components(recipe):
        found = fields.component
        for name in getattr(found.cls, "reads", ()):
            yield from _contents(getattr(fields, name))
        if str(found.cls.__module__).partition(".")[0] != "jepakit" and Path(found.file) not in own:
            yield _digest(found)


def _contents(path: str | None) -> Iterator[str]:
    """The digest of a file of weights, or of those in a checkpoint's folder; none where there is no such file, which building will tell."""
    if not path:
        return
    with contextlib.suppress(OSError, ValueError):
        file = Path(path)
        yield hashlib.sha256(read_bytes(file / "weights.safetensors" if file.is_dir() else file, MAX_BYTES)).hexdigest()


def _components(value: Any) -> Iterator[ComponentFields]:
    if isinstance(value, ComponentFields):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _components(getattr(value, name))
    elif isinstance(value, tuple):
        for entry in value:
            yield from _components(entry)


def _digest(found: Component) -> str:
    try:
        file = Path(found.file)
        content = file.read_bytes() if file.is_file() else inspect.getsource(found.cls).encode()  # a notebook's cell is no file
    except (OSError, TypeError) as error:
        raise UserError(f"the source of the {found.slot} `{found.kind}` cannot be read, so a run has no id: put it in a file") from error
    return hashlib.sha256(content).hexdigest()
