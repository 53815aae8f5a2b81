"""An engine from what a user writes: ``local``, ``{kind: ray, cpus: 2}``, a mapping, or an engine itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from jepakit import registry
from jepakit.errors import UserError, shown, suggestion
from jepakit.protocols import Engine
from jepakit.recipe.errors import Problem, RecipeError, Source
from jepakit.recipe.slots import InSlot
from jepakit.recipe.words import Vocabulary, describe_value
from jepakit.recipe.yaml12 import read_yaml
from jepakit.registry.signature import ComponentFields

AnyEngine = str | Mapping[str, Any] | Engine | None


def load_engine(engine: AnyEngine = None, name: str = "--engine") -> Engine:
    """Build an engine.

    Args:
        engine: A kind, or YAML of a mapping with a ``kind``; a mapping; a built engine; None: ``local``.
        name: What the user calls it, for messages.

    Raises:
        UserError: There is no such engine, a field is wrong, or a package is not installed.
    """
    if engine is None or isinstance(engine, str | Mapping):
        fields = _fields(engine or "local", name)
        try:
            built: Engine = registry.build("engine", fields)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
        return built
    return engine


def _fields(engine: str | Mapping[str, Any], name: str) -> ComponentFields:
    value = _read(engine, name) if isinstance(engine, str) else dict(engine)
    value = {"kind": value} if isinstance(value, str) else value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        kinds = ", ".join(found.kind for found in registry.components("engine"))
        raise UserError(f"{name} {shown(str(engine))}: write a kind ({kinds}), or a kind with fields, such as '{{kind: ray, cpus: 1}}'")
    try:
        found = registry.component("engine", value["kind"])
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    try:
        return InSlot("engine").validate(value)
    except ValidationError as error:
        raise UserError("\n".join(f"{name}: {_told(problem, found, value)}" for problem in error.errors())) from None
    except (PydanticCustomError, TypeError) as error:
        raise UserError(f"{name}: {error}") from None


def _read(text: str, name: str) -> Any:
    problems: list[Problem] = []
    node = read_yaml(Source(name, text, Path(), is_file=False), problems)
    if problems:
        raise RecipeError(problems)
    return node.plain() if node else None


def _told(problem: Any, found: registry.Component, value: Mapping[str, Any]) -> str:
    """One mistake in the fields of an engine."""
    path = [step for step in problem["loc"] if isinstance(step, str | int)]
    field = str(path[0]) if path else "kind"
    if problem["type"] == "extra_forbidden":
        fields = [name for name in found.fields.model_fields if name != "kind"]
        return f"the engine `{found.kind}` has no field `{shown(field)}`; {suggestion(field, fields, 'its fields are')}"
    if problem["type"] == "missing":
        return f"the engine `{found.kind}` needs the field `{field}`"
    schema = found.fields.model_json_schema()
    expected = Vocabulary(schema).describe(schema["properties"].get(field, {}))
    written = value.get(field)
    return f"`{field}` cannot be {describe_value(written)}: expected {expected} ({problem['msg']})"
