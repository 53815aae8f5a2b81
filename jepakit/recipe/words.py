"""Describes JSON schemas and values in plain words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jepakit.errors import shown

Schema = Mapping[str, Any]


class Vocabulary:
    """Reads one schema, with its ``$defs``."""

    def __init__(self, root: Schema) -> None:
        self.root = root

    def branches(self, schema: Schema) -> Iterator[Schema]:
        """The alternatives of a schema with references resolved; the schema itself if it has none."""
        if "$ref" in schema:
            yield from self.branches(self.root["$defs"][schema["$ref"].rpartition("/")[2]])
        elif alternatives := schema.get("oneOf") or (not schema.get("properties") and schema.get("anyOf")):
            for alternative in alternatives:
                yield from self.branches(alternative)
        elif "not" not in schema:  # a component without a kind: for editors alone, as the kind is filled in before a recipe is judged
            yield schema

    def fitting(self, schema: Schema, value: Any) -> Iterator[Schema]:
        """The alternatives that match the value's ``kind``."""
        for branch in self.branches(schema):
            kind = branch.get("properties", {}).get("kind", {}).get("const")
            if kind is None or (isinstance(value, dict) and value.get("kind") == kind):
                yield branch

    def entry(self, schema: Schema, value: Any, key: str | int) -> Schema:
        """The schema of one entry of a value; empty if any value is allowed."""
        for branch in self.fitting(schema, value):
            if isinstance(key, int):
                prefix = branch.get("prefixItems", [])
                found = prefix[key] if key < len(prefix) else branch.get("items")
            else:
                found = branch.get("properties", {}).get(key) or branch.get("additionalProperties")
            if isinstance(found, dict):
                return found
        return {}

    def fields(self, schema: Schema, value: Any) -> list[str]:
        """The field names that a mapping may have."""
        return list(dict.fromkeys(name for branch in self.fitting(schema, value) for name in branch.get("properties", {})))

    def places(self, schema: Schema, value: Any, name: str) -> Iterator[tuple[str | int, ...]]:
        """The paths below a value at which a field ``name`` may stand."""
        if isinstance(value, list):
            keys: Sequence[str | int] = range(len(value))
        else:
            keys = self.fields(schema, value)
            yield from ((key,) for key in keys if key == name)
        for key in keys:
            below = value[key] if isinstance(key, int) else value.get(key) if isinstance(value, dict) else None
            yield from ((key, *path) for path in self.places(self.entry(schema, value, key), below, name))

    def choices(self, schema: Schema) -> list[str]:
        """The strings that a value may take."""
        found = [choice for branch in self.branches(schema) for choice in branch.get("enum", [branch.get("const")])]
        return [choice for choice in found if isinstance(choice, str)]

    def kinds(self, schema: Schema) -> list[str]:
        """The kinds of a slot."""
        kinds = [branch.get("properties", {}).get("kind", {}).get("const") for branch in self.branches(schema)]
        return [kind for kind in kinds if kind]

    def kinds_with(self, schema: Schema, name: str) -> list[str]:
        """The kinds of a slot that have a field ``name``."""
        return self.kinds({"anyOf": [branch for branch in self.branches(schema) if name in branch.get("properties", {})]})

    def describe(self, schema: Schema) -> str:
        """The allowed values in words, such as ``an integer of at least 1``."""
        if kinds := self.kinds(schema):
            return "a mapping with a `kind`: " + ", ".join(f"`{kind}`" for kind in kinds)
        texts = [text for branch in self.branches(schema) for text in self._branch(branch)]
        return " or ".join(dict.fromkeys(texts))

    def _branch(self, schema: Schema) -> list[str]:
        if "enum" in schema or "const" in schema:
            return [
                f"`{choice}`" if isinstance(choice, str) else describe_value(choice) for choice in schema.get("enum", [schema.get("const")])
            ]
        match schema.get("type"):
            case "integer":
                return ["an integer" + _bounds(schema, whole=True)]
            case "number":
                return ["a number" + _bounds(schema, whole=False)]
            case "boolean":
                return ["`true` or `false`"]
            case "string":
                return ["a string" + (f" of the form {schema['pattern']}" if "pattern" in schema else "") + _length(schema, "characters")]
            case "null":
                return ["`null`"]
            case "array":
                return [self._array(schema)]
            case "object":
                return ["a mapping"]
        return ["any value"]

    def _array(self, schema: Schema) -> str:
        if prefix := schema.get("prefixItems"):
            texts = [self.describe(entry) for entry in prefix]
            return f"a list of {len(texts)}" + (f", each {texts[0]}" if len(set(texts)) == 1 else ": " + ", ".join(texts))
        entry = self.describe(schema.get("items", {}))
        return "a list" + _length(schema, "entries") + ("" if entry == "any value" else f", each {entry}")


def _bounds(schema: Schema, whole: bool) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if whole and above is not None:
        low, above = above + 1, None
    texts = [
        "" if low is None else f"of at least {low}",
        "" if above is None else f"above {above}",
        "" if high is None else f"of at most {high}" if low is None else f"at most {high}",
        "" if below is None else f"below {below}",
        f"a multiple of {schema['multipleOf']}" if "multipleOf" in schema else "",
    ]
    texts = [text for text in texts if text]
    return " " + " and ".join(texts) if texts else ""


def _length(schema: Schema, what: str) -> str:
    low, high = (schema.get(f"{end}Items", schema.get(f"{end}Length")) for end in ("min", "max"))
    texts = ([f"at least {low}"] if low else []) + ([f"at most {high}"] if high is not None else [])
    return f" of {' and '.join(texts)} {what}" if texts else ""


def describe_value(value: Any) -> str:
    """A value for messages."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return f'the string "{shown(json.dumps(value, ensure_ascii=False)[1:-1], 58)}"'
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinity"
    return "`null`" if value is None else f"`{json.dumps(value)}`"
