"""``jepakit schema``, and the committed copy that editors read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jepakit.recipe import shipped_recipes

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


def kinds(schema: object) -> set[str]:
    """Every kind that a schema names."""
    match schema:
        case {"kind": {"const": kind}}:
            return {str(kind)}
        case dict():
            return set().union(*map(kinds, schema.values()))
        case list():
            return set().union(*map(kinds, schema))
    return set()


def test_schema_includes_the_fields_and_kinds_of_plugins(cli: Cli, plugin: Path) -> None:
    plain, extended = (json.loads(cli("schema", *options).out) for options in ([], ["--plugins", str(plugin)]))
    assert {"env", "encoder", "jepa", "regularizers", "algorithm"} <= set(plain["properties"])
    assert {"gym", "vit", "ema", "mlp", "l2", "variance", "ppo"} <= kinds(plain)
    assert kinds(extended) - kinds(plain) == {"tiny"}


def test_the_committed_schema_is_up_to_date(cli: Cli) -> None:
    copy = ROOT / "docs/recipe.schema.json"
    assert copy.read_text() == cli("schema").out, "run `jepakit schema > docs/recipe.schema.json`"


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_point_editors_to_the_schema(name: str) -> None:
    path = (ROOT / "recipes" / name).with_suffix(".yaml")
    line = path.read_text().splitlines()[0]
    start = "# yaml-language-server: $schema="
    assert line.startswith(start)
    assert (path.parent / line.removeprefix(start)).resolve() == ROOT / "docs/recipe.schema.json"
