"""A finished run goes on: as a new run, beside the old one, with all that the old one had learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jepakit.agent.evaluate import evaluate
from jepakit.errors import UserError
from jepakit.recipe import load_recipe
from jepakit.training.run import resume, run

SMALL = {"total_steps": 64, "env.num_envs": 2, "algorithm.rollout_steps": 16, "threads": 1, "algorithm.minibatch_size": 16}
DQN = SMALL | {"algorithm.learning_starts": 32, "replay.capacity": 256}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("recipe", "overrides"), [("cartpole_pixels", SMALL), ("cartpole_dqn", DQN)])
def test_a_finished_run_is_extended(tmp_path: Path, recipe: str, overrides: dict[str, Any]) -> None:
    parent = run(recipe, overrides=overrides, out=tmp_path / "parent", quiet=True)
    kept = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    child = resume(parent.path, total_steps=128, quiet=True)

    assert {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()} == kept
    assert child.path == tmp_path / child.summary["id"] != parent.path
    assert (child.summary["status"], child.summary["env_steps"]) == ("finished", 128)
    assert child.summary["parent"] == load_recipe(child.path / "recipe.yaml").parent == f"{parent.summary['id']}@64"
    assert records(child.path)[: len(records(parent.path))] == records(parent.path)
    steps = [record["env_steps"] for record in records(child.path) if record["phase"] == "train"]
    assert steps == sorted(set(steps))
    assert evaluate(child.path, episodes=2)["env_steps"] == 128

    assert resume(parent.path, total_steps=128, quiet=True) == type(child)(child.path, child.summary, fresh=False)
    grandchild = resume(child.path, total_steps=160, quiet=True)
    assert grandchild.summary["parent"] == f"{child.summary['id']}@128"


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    parent = run("cartpole_pixels", overrides=SMALL, out=tmp_path / "parent", quiet=True)
    with pytest.raises(UserError, match="has already made 64 env steps; write a larger number"):
        resume(parent.path, total_steps=64)
    child = resume(parent.path, total_steps=96, quiet=True)
    with pytest.raises(UserError, match="a run from the start has no parent"):
        run(child.path / "recipe.yaml", out=tmp_path / "again", quiet=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is not a run's folder"):
        resume(tmp_path / "empty", total_steps=96)
