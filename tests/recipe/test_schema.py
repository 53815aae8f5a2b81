"""The JSON schema that editors use, and the cost of importing recipes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from jepakit.recipe import Recipe, load_recipe, recipe_schema, shipped_recipes


def kinds(slot_schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    branches = [branch for branch in slot_schema["oneOf"] if "not" not in branch]
    return {branch["properties"]["kind"]["const"]: branch for branch in branches}


def test_each_kind_is_an_alternative_with_its_fields_described() -> None:
    schema = recipe_schema()
    encoders = kinds(schema["properties"]["encoder"])
    assert {"small", "large", "vit"} <= set(encoders)
    assert encoders["small"]["properties"]["dim"]["maximum"] == 512
    assert encoders["small"]["required"] == ["kind"]
    assert kinds(schema["properties"]["env"])["fake"]["required"] == ["kind", "id"]
    assert encoders["small"]["additionalProperties"] is False
    assert all("description" in field for name, field in encoders["vit"]["properties"].items() if name != "kind")
    assert "spread" in kinds(schema["properties"]["regularizers"]["items"])
    assert "ema" in kinds(schema["$defs"]["Jepa"]["properties"]["target"])


def test_a_recipe_that_extends_another_needs_no_env_and_no_kind() -> None:
    schema = recipe_schema()
    assert schema["anyOf"] == [{"required": ["env"]}, {"required": ["extends"]}]
    assert not schema["required"]
    encoder = schema["properties"]["encoder"]["oneOf"][-1]
    assert {"not": {"required": ["kind"]}, "type": "object", "additionalProperties": False}.items() <= encoder.items()
    fields = {kind: branch["properties"] for kind, branch in kinds(schema["properties"]["encoder"]).items()}
    assert encoder["properties"].keys() == {name for kind in fields.values() for name in kind} - {"kind"}
    assert all(fields[kind]["dim"] in encoder["properties"]["dim"]["anyOf"] for kind in ("small", "large", "vit"))


def test_every_field_of_a_recipe_is_described() -> None:
    schema = recipe_schema()
    assert set(schema["properties"]) == {"extends", *Recipe.model_fields}
    blocks = {"jepa", "optimizer", "replay"}  # described by their own docstrings
    assert all("description" in field for name, field in schema["properties"].items() if name not in blocks)


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load(name: str) -> None:
    assert load_recipe(name).name


def test_importing_recipes_imports_no_torch() -> None:
    code = "import sys, jepakit.recipe, jepakit.registry, jepakit.registry.plugins; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
