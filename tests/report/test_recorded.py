"""The recorded runs in docs/results keep their ids, so that `ablate --recorded` counts them as finished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from jepakit.recipe import load_recipe, recipe_id
from jepakit.report.record import read_record

#: An untracked recipe of another study lay beside the committed code: docs/results/dmc100k.md says so.
BESIDE_A_RECIPE = {"5a4b5e3c38", "b2c7543e90"}
RECORDS = sorted((Path(__file__).parents[2] / "docs" / "results").glob("**/runs/*.json"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_recorded_run_keeps_its_id(record: Path, tmp_path: Path) -> None:
    run = read_record(record)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(run.recipe))
    assert recipe_id(load_recipe(recipe)) == run.id == record.stem
    assert run.summary["status"] == "finished"
    assert run.curves["env_steps"][-1] >= run.recipe["total_steps"]
    assert len(record.read_bytes()) < 32_000


def test_no_record_holds_absolute_paths_or_uncommitted_code() -> None:
    assert RECORDS
    for record in RECORDS:
        provenance = json.loads(record.read_text())["provenance"]
        assert provenance["git"] is None or not provenance["git"]["dirty"] or record.stem in BESIDE_A_RECIPE, record
        assert not any(argument.startswith(("/", "~")) for argument in provenance["command"]), record


def test_reproduce_compares_with_the_recorded_figure() -> None:
    root = Path(__file__).parents[2]
    assert (root / "recipes/paper/figure3.json").read_bytes() == (root / "docs/results/paper/figure3.json").read_bytes()
