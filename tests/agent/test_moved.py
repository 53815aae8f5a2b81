"""A run whose recipe names files can be moved with its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jepakit.agent.evaluate import evaluate
from jepakit.errors import UserError
from jepakit.recipe import load_recipe, recipe_id
from jepakit.training.run import run

SMALL = {"total_steps": 64, "env.num_envs": 2, "algorithm.rollout_steps": 16, "algorithm.minibatch_size": 16, "threads": 1}


def test_a_moved_run_keeps_its_frozen_targets_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("cartpole_pixels", overrides=SMALL, out=tmp_path / "here" / "first", quiet=True)
    recipe = tmp_path / "here" / "second.yaml"
    frozen = "{kind: frozen, checkpoint: first/checkpoints/000000000064}"
    recipe.write_text(f"extends: cartpole_pixels\njepa: {{target: {frozen}}}\n")
    monkeypatch.chdir("/")  # the path is relative to the recipe's folder
    result = run(recipe, overrides=SMALL, out=tmp_path / "here" / "out", quiet=True)
    expected = evaluate(result.path, episodes=2)

    shutil.move(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "there" / "first")
    moved = tmp_path / "there" / "out"
    assert evaluate(moved, episodes=2) == expected
    assert recipe_id(load_recipe(moved / "recipe.yaml")) == result.summary["id"]  # the id depends on the contents, not on the path
    with pytest.raises(UserError, match=r"second\.yaml:2:\d+: checkpoint .*first/checkpoints/000000000064 does not exist"):
        run(tmp_path / "there" / "second.yaml", overrides=SMALL, out=tmp_path / "new", quiet=True)
