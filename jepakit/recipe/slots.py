"""Recipe fields that hold a component: any registered kind of a slot, validated by that kind's fields."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from jepakit import registry
from jepakit.errors import UserError, told
from jepakit.recipe.tree import KeyPath
from jepakit.registry.signature import ComponentFields


@dataclass(frozen=True)
class InSlot:
    """``Annotated[ComponentFields, InSlot("encoder")]``: the fields of one of the slot's kinds, selected by ``kind``.

    Validation looks the kind up in the registry, so a plug-in needs no new recipe class.
    """

    slot: str

    def validate(self, value: Any) -> ComponentFields:
        """The fields of the kind that ``value`` names."""
        if isinstance(value, ComponentFields):
            return value
        if not isinstance(value, dict) or "kind" not in value:
            raise PydanticCustomError("no_kind", "expected a mapping with a `kind`")
        try:
            found = registry.component(self.slot, str(value["kind"]))
        except UserError as error:
            raise PydanticCustomError("unknown_kind", "unknown kind") from error
        try:
            # Validate JSON: pydantic's strict Python mode refuses a list for a tuple. `strict=True`: a field may hold a lax model.
            fields = found.fields.model_validate_json(json.dumps(value), strict=True)
            written = fields.model_dump(mode="json")  # a run's recipe.yaml says this
            if _lacks(written, value):  # pydantic's models ignore what they do not know; here only `extra="allow"` lets more keys in
                found.fields.model_validate_json(json.dumps(value), strict=True, extra="forbid")
            again = found.fields.model_validate_json(json.dumps(written, allow_nan=False), strict=True)
            if again.model_dump(mode="json") != written or written.keys() != found.fields.model_fields.keys():
                raise ValueError("written to a recipe and read again, they are others")
        except ValidationError:
            raise
        except (Exception, SystemExit) as error:  # raised by a validator of the component's author
            wrong = f"the {self.slot} `{found.kind}` cannot read these values: {told(error)}"
            raise PydanticCustomError("failed", "{wrong}", {"wrong": wrong}) from error
        return fields

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.validate, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        kinds = [_kind_schema(handler(found.fields.__pydantic_core_schema__), handler) for found in registry.components(self.slot)]
        fields: dict[str, list[Any]] = {}
        for kind in kinds:
            for name, field in kind["properties"].items():
                if field not in (known := fields.setdefault(name, [])):
                    known.append(field)
        partial = {
            "type": "object",
            "not": {"required": ["kind"]},
            "properties": {name: {"anyOf": found} for name, found in fields.items() if name != "kind"},
            "additionalProperties": False,
            "description": f"Some fields of the {self.slot}; its kind is that of the extended recipe, or the default kind.",
        }
        return {"oneOf": [*kinds, partial], "description": registry.SLOTS[self.slot].description}


def _lacks(written: Any, value: Any) -> bool:
    """Whether a key of ``value`` is not in ``written``, at any depth."""
    if isinstance(written, dict) and isinstance(value, dict):
        return not value.keys() <= written.keys() or any(_lacks(written[key], value[key]) for key in value)
    if isinstance(written, list) and isinstance(value, list):
        return any(map(_lacks, written, value))
    return False


def _kind_schema(schema: JsonSchemaValue, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    schema = handler.resolve_ref_schema(schema)
    found = {key: value for key, value in schema.items() if key != "title"}
    return found | {"required": ["kind", *schema.get("required", [])]}


def default_kind(kind: str) -> Any:
    """A slot's default: this kind with its own defaults."""
    return Field(default={"kind": kind}, validate_default=True)


def default_kinds(model: type[BaseModel], path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every path of a component (`slot_paths`), and the kind that a mapping without ``kind`` means there; empty if it must name one."""
    yield from ((place, kind) for place, _, kind in slot_paths(model, path))


def slot_paths(model: type[BaseModel], path: KeyPath = ()) -> Iterator[tuple[KeyPath, str, str]]:
    """Every path of a component, its slot and its default kind; empty if there is none.

    The entries of a list all have the path of the first.
    """
    for name, field in model.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, InSlot):
                yield (*path, name), mark.slot, "" if field.is_required() else field.default["kind"]
        within = (0,) if typing.get_origin(field.annotation) is tuple else ()
        for part in typing.get_args(field.annotation):
            for mark in getattr(part, "__metadata__", ()):
                if isinstance(mark, InSlot):
                    yield (*path, name, *within), mark.slot, ""
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from slot_paths(part, (*path, name))
