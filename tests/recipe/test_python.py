"""Recipes from Python: mappings instead of files and of ``path=value``, and changes to loaded recipes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jepakit.recipe import RecipeError, load_recipe, recipe_id


def test_a_mapping_of_overrides_equals_a_list_of_overrides() -> None:
    mapping = {
        "encoder.dim": 32,
        "jepa": {"horizon": 1, "predictor": {"hidden": 9}},
        "optimizer.lr": 1e-4,
        "regularizers": [{"kind": "vicreg"}],
    }
    texts = ["encoder.dim=32", "jepa={horizon: 1, predictor: {hidden: 9}}", "optimizer.lr=1e-4", "regularizers=[{kind: vicreg}]"]
    assert recipe_id(load_recipe("cartpole_pixels", mapping)) == recipe_id(load_recipe("cartpole_pixels", texts))
    assert load_recipe("cartpole_pixels", {"jepa": None}).jepa is None
    assert load_recipe("cartpole_pixels", {"encoder": {"kind": "nature_cnn"}}).encoder.kind == "nature_cnn"


def test_numpy_values_and_tuples_are_accepted() -> None:
    recipe = load_recipe(
        "cartpole_pixels", {"encoder.dim": np.int64(32), "env.size": (20, 40), "plugins": [], "optimizer.lr": np.float64(0.5)}
    )
    assert (recipe.encoder.dim, recipe.env.size, recipe.optimizer.lr) == (32, (20, 40), 0.5)


def test_devices_enums_and_blocks_of_another_recipe_are_accepted() -> None:
    class Size(Enum):
        small = 32

    other = load_recipe("cartpole_pixels", {"encoder.dim": 128, "encoder.depth": 1})
    recipe = load_recipe("cartpole_pixels", {"device": torch.device("cpu"), "encoder": other.encoder, "jepa.horizon": 1})
    assert recipe.device == "cpu"
    assert recipe.encoder == other.encoder
    assert load_recipe("cartpole_pixels", {"encoder.dim": Size.small}).encoder.dim == 32


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"encoder.dimm": 32}, r"overrides\['encoder.dimm'\]: unknown field `dimm`(?s:.*)did you mean `dim`"),
        ({"encoder.dim": "big"}, r"overrides\['encoder.dim'\]: "),
        ({"encoder.dim": object()}, r"overrides\['encoder.dim'\]: a recipe cannot hold a object"),
        ({"encoder.dim": {1, 2}}, r"overrides\['encoder.dim'\]: a recipe cannot hold a set"),
        ({"seed": float("nan")}, r"overrides\['seed'\]: "),
    ],
)
def test_a_mistake_is_located_at_its_key(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("cartpole_pixels", overrides)


def test_a_mapping_can_be_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("extends: cartpole_pixels\nencoder: {dim: 32}\n")
    recipe = load_recipe({"extends": "base.yaml", "name": "mine", "jepa": {"horizon": 1}})
    assert (recipe.name, recipe.encoder.dim, recipe.jepa.horizon) == ("mine", 32, 1)
    with pytest.raises(RecipeError, match="the recipe: unknown field `encodr`"):
        load_recipe({"extends": "base.yaml", "encodr": {}})
    with pytest.raises(RecipeError, match="env"):
        load_recipe({})


def test_overrides_of_a_loaded_recipe_are_applied_and_checked() -> None:
    recipe = load_recipe("cartpole_pixels", {"regularizers": [{"kind": "vicreg", "weight": 0.3}], "algorithm.hidden": [7]})
    assert load_recipe(recipe) == recipe
    changed = load_recipe(recipe, {"regularizers.0.weight": 0.1, "encoder.kind": "nature_cnn"})
    assert changed.regularizers[0].weight == 0.1
    assert (changed.encoder.kind, changed.algorithm.hidden, changed.name) == ("nature_cnn", (7,), "cartpole_pixels")
    assert recipe.encoder.kind == "vit"
    with pytest.raises(RecipeError, match=r"overrides\['encoder.heads'\]"):
        load_recipe(recipe, {"encoder.heads": -1})
