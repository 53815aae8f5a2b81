"""Every pair of kinds trains together. A small set of recipes covers all pairs of all registered kinds."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensordict import TensorDict
from torchrl.envs import EnvBase

from jepakit.machine.hardware import Hardware
from jepakit.protocols import PIXELS
from jepakit.recipe import load_recipe
from jepakit.registry import components
from jepakit.training.build import build_env, build_learner
from jepakit.training.policy import Policy
from jepakit.training.rehearsal import rehearse

Choice = dict[str, Any]

SMALL = {  #: fields that a kind needs, or that make it quick
    ("encoder", "vit"): {"dim": 16, "depth": 1, "patch": 12},
    ("encoder", "timm"): {"backbone": "test_vit", "frozen": False},
    ("predictor", "conv"): {"channels": 2, "rows": 1},
    ("algorithm", "ppo"): {"rollout_steps": 8, "minibatch_size": 16, "epochs": 1},
    ("algorithm", "a2c"): {"rollout_steps": 8, "minibatch_size": 16},
    ("algorithm", "reinforce"): {"rollout_steps": 8, "minibatch_size": 16},
    ("algorithm", "none"): {"rollout_steps": 8, "minibatch_size": 16},
    ("algorithm", "dqn"): {"rollout_steps": 8, "minibatch_size": 16, "learning_starts": 0, "updates_per_step": 0.0625},
    ("algorithm", "sac"): {"rollout_steps": 8, "minibatch_size": 16, "learning_starts": 0, "updates_per_step": 0.0625},
}
SLOTS = ("encoder", "target", "predictor", "objective", "projector", "regularizer", "auxiliary", "augmentation", "algorithm")
OPTIONAL = {"projector", "regularizer", "auxiliary", "augmentation"}
ENVS = {"CartPole-v1": {"size": [36, 48]}, "Pendulum-v1": {"size": [48, 48]}}


def choices(env: str) -> dict[str, list[Choice | None]]:
    found: dict[str, list[Choice | None]] = {}
    for slot in SLOTS:
        kinds = [known.kind for known in components(slot) if known.cls.__module__.startswith("jepakit.") and not known.missing]
        if slot == "algorithm" and env == "Pendulum-v1":
            kinds.remove("dqn")  # discrete actions only
        found[slot] = [{"kind": kind} | SMALL.get((slot, kind), {}) for kind in kinds] + ([None] if slot in OPTIONAL else [])
    return found


def pairwise(factors: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Rows in which any two values of any two factors occur together. Greedy: each row is the best of some random rows."""
    draws = random.Random(0)
    sizes = {name: range(len(values)) for name, values in factors.items()}
    missing = {
        frozenset({(one, i), (other, j)}) for one, other in itertools.combinations(factors, 2) for i in sizes[one] for j in sizes[other]
    }
    while missing:
        seed = dict(draws.choice(sorted(missing, key=sorted)))  # so that each row covers something
        rows = [{name: seed.get(name, draws.choice(sizes[name])) for name in factors} for _ in range(30)]
        covered = [{frozenset(pair) for pair in itertools.combinations(row.items(), 2)} & missing for row in rows]
        best = max(range(len(rows)), key=lambda number: len(covered[number]))
        missing -= covered[best]
        yield {name: factors[name][index] for name, index in rows[best].items()}


def recipe_of(row: dict[str, Any], env: str) -> dict[str, Any]:
    jepa = {slot: row[slot] for slot in ("target", "predictor", "objective", "projector")}
    return {
        "env": {"kind": "gym", "id": env, "num_envs": 4} | ENVS[env],
        "encoder": row["encoder"],
        "jepa": {"horizon": 2} | jepa,
        "regularizers": [row["regularizer"]] if row["regularizer"] else [],
        "auxiliary": [row["auxiliary"]] if row["auxiliary"] else [],
        "augmentations": [row["augmentation"]] if row["augmentation"] else [],
        "algorithm": row["algorithm"],
        "replay": {"capacity": 256},
    }


def named(row: dict[str, Any]) -> str:
    return "-".join(choice["kind"] if choice else "none" for choice in row.values())


@pytest.fixture(scope="module", params=[env if env == "CartPole-v1" else pytest.param(env, marks=pytest.mark.slow) for env in ENVS])
def env_id(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def env(env_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvBase]:
    file = tmp_path_factory.mktemp("env") / "env.yaml"
    file.write_text(json.dumps({"env": {"kind": "gym", "id": env_id, "num_envs": 4} | ENVS[env_id]}))
    made = build_env(load_recipe(file))
    yield made
    made.close()


def test_any_two_kinds_train_together(env: EnvBase, env_id: str, tmp_path: Path) -> None:
    rows = list(pairwise(choices(env_id)))
    assert len(rows) < 100
    for row in rows:
        file = tmp_path / "recipe.yaml"
        file.write_text(json.dumps(recipe_of(row, env_id)))
        build = rehearse if env_id == "Pendulum-v1" else build_learner  # a rehearsal also takes every diagnosis, and twice the time
        learner = build(load_recipe(file), env, Hardware("cpu", "fp32", threads=1))
        policy = Policy(learner)
        acted = [policy(env.fake_tensordict().exclude("action")) for _ in range(8)]
        batch = TensorDict.stack(acted, dim=1)  # [N, 8]
        for pixels in (batch[PIXELS], batch["next", PIXELS]):
            pixels.random_(0, 256)
        metrics = learner.learn(batch, progress=0.5)
        assert learner.updates >= 2, named(row)
        assert all(math.isfinite(value) for value in metrics.values()), (named(row), metrics)


def test_pairwise_covers_every_pair() -> None:
    factors = {"a": [1, 2, 3], "b": ["x", "y"], "c": [None, 0, 7, 9]}
    rows = list(pairwise(factors))
    assert len(rows) < 24
    for one, other in itertools.combinations(factors, 2):
        assert {(row[one], row[other]) for row in rows} == set(itertools.product(factors[one], factors[other]))
