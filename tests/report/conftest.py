"""Made-up finished runs, as data and as folders."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jepakit.report.runs import CURVES, Run

RECIPE: dict[str, Any] = {
    "name": "made_up",
    "seed": 0,
    "total_steps": 3000,
    "env": {"kind": "gym", "id": "CartPole-v1", "size": [80, 120]},
    "encoder": {"kind": "vit", "dim": 64, "patch": 20},
    "jepa": {"weight": 1.0, "target": {"kind": "ema", "decay": 0.99}, "predictor": {"kind": "mlp", "hidden": 256}},
    "regularizers": [],
    "algorithm": {"kind": "ppo", "gradients_to_encoder": True, "hidden": [256]},
    "checkpoint_every": 10_000,
    "plugins": [],
}

MakeRun = Callable[..., Run]
MakeFolder = Callable[..., Path]


def recipe_with(changes: dict[str, Any]) -> dict[str, Any]:
    """The recipe with changes such as ``{"encoder.dim": 32}``. The value `...` removes a field."""
    recipe = copy.deepcopy(RECIPE)
    for path, value in changes.items():
        *within, name = path.split(".")
        block = recipe
        for step in within:
            block = block[step]
        block.pop(name) if value is ... else block.update({name: value})
    return recipe


@pytest.fixture
def make_run() -> MakeRun:
    """A run with ``returns`` and ``variances`` every 1,000 env steps."""

    def make(
        changes: dict[str, Any] | None = None,
        *,
        seed: int = 0,
        returns: Sequence[float] = (10.0, 20.0, 30.0),
        variances: Sequence[float] | None = None,
        held_out: float | None = None,
        episodes: int = 30,
        collapsed: bool = False,
    ) -> Run:
        recipe = recipe_with({"seed": seed} | (changes or {}))
        variances = variances or [0.5] * len(returns)
        steps = np.arange(1, len(returns) + 1) * 1000.0
        curves = dict.fromkeys(CURVES, np.full(len(returns), np.nan))
        summary = {
            "return_last_100": returns[-1],
            "return_auc": float(np.mean(returns)),
            "embedding_variance": variances[-1],
            "embedding_rank": None,
            "collapsed": collapsed,
        }
        evaluation = None if held_out is None else {"episodes": episodes, "greedy": {"mean": 500.0}, "sampled": {"mean": held_out}}
        curves |= {"env_steps": steps, "return_last_100": np.array(returns), "embedding/variance": np.array(variances)}
        return Run(json.dumps(recipe), recipe["name"], seed, recipe, summary, curves, evaluation, {})

    return make


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A run's folder as `jepakit run` leaves it."""

    def make(
        where: str = "run",
        changes: dict[str, Any] | None = None,
        *,
        run_id: str | None = "0123456789",
        status: str | None = "finished",
        seed: int = 0,
        batches: int = 3,
        first_return: float | None = None,
        evaluation: dict[str, Any] | None = None,
        command: Sequence[str] = ("jepakit", "run", "cartpole_pixels"),
    ) -> Path:
        folder = tmp_path / where
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_with({"seed": seed} | (changes or {})), sort_keys=False))
        (folder / "events.jsonl").write_text('{"event": "start"}\n')
        (folder / "provenance.json").write_text(json.dumps({"command": command, "git": {"sha": "ab", "dirty": False}, "pid": 4711}))
        random = np.random.default_rng(seed)
        returns = [first_return, *random.uniform(0, 500, batches - 1).tolist()]
        records = [{"phase": "episode", "env_steps": 7, "episode_return": 9.0}]
        records += [
            {"phase": "train", "env_steps": 123_456 + 1000 * batch, "return_last_100": returns[batch], "time/env": 0.1}
            | {name: random.uniform() for name in CURVES[2:]}
            for batch in range(batches)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        summary = {"id": run_id} if run_id else {}
        summary |= {"status": status, "env_steps": records[-1]["env_steps"], "return_last_100": returns[-1], "return_auc": 1 / 3}
        summary |= {"embedding_variance": 0.5, "embedding_rank": 3.5, "collapsed": False, "episodes": 9}
        if status is not None:
            (folder / "summary.json").write_text(json.dumps(summary))
        if evaluation is not None:
            (folder / "eval.json").write_text(json.dumps(evaluation))
        return folder

    return make
