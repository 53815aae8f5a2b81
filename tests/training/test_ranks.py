"""A run on two ranks: one folder, every rank's episodes, an exact resume, one message for a mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from jepakit.components.shared import ranks
from jepakit.recipe import load_recipe
from jepakit.recipe.errors import RecipeError
from jepakit.training import run as module
from jepakit.training.build import build_env
from jepakit.training.experience.share import share_of
from tests.forked import jepakit_on_ranks, jepakit_process, on_ranks

SMALL = """
name: small
total_steps: 480
env: {kind: gym, id: CartPole-v1, num_envs: 4, size: [16, 24]}
encoder: {kind: vit, dim: 8, depth: 1, heads: 2, patch: 8, scaling: normalized}
regularizers: [{kind: sigreg, weight: 0.1}]
augmentations: [{kind: random_shift, pad: 1}]
algorithm: {kind: ppo, rollout_steps: 20, epochs: 1, minibatch_size: 20}
checkpoint_every: 160
diagnostics_every: 160
eval_every: 240
eval_episodes: 2
device: cpu
precision: fp32
threads: 1
"""


def train(recipe: Path, out: Path, stops: bool) -> None:
    """Train on one of the ranks. If it ``stops``, rank 1 alone is asked to, after the first batch."""
    torch.set_num_threads(1)

    @contextmanager
    def asked(_: object) -> Iterator[Callable[[], bool]]:
        yield lambda: os.environ["RANK"] == "1"

    if stops:
        module.graceful_stop = asked
    module.run(recipe, out=out, quiet=True)


def records(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run, without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_s" and not key.startswith("time/")} for line in lines]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    outcomes = jepakit_on_ranks("run", str(recipe), "--out", "whole", cwd=recipe.parent)
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    first, second = outcomes
    assert first.out.startswith("run whole")
    assert "480 env steps" in first.out
    assert (second.out, second.err) == ("", "")
    return recipe.parent / "whole"


def test_the_first_rank_alone_writes_and_has_the_episodes_of_all(whole: Path) -> None:
    provenance, summary = (json.loads((whole / f"{name}.json").read_text()) for name in ("provenance", "summary"))
    assert provenance["ranks"] == 2
    assert (summary["status"], summary["env_steps"]) == ("finished", 480)
    found = records(whole)
    assert [each["env_steps"] for each in found if each["phase"] == "train"] == [80, 160, 240, 320, 400, 480]
    assert {each["phase"] for each in found} == {"episode", "train", "diagnostics", "eval"}
    episodes = [each for each in found if each["phase"] == "episode"]
    assert summary["episodes"] == len(episodes)
    assert 480 / 2 < sum(each["episode_length"] for each in episodes) <= 480  # those of one rank have at most half of the steps
    assert all(each["env_steps"] % 4 == 0 for each in episodes)
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == ["000000000320", "000000000480"]


def test_a_run_that_one_rank_stopped_goes_on_as_if_it_had_not(whole: Path, recipe: Path) -> None:
    cut = recipe.parent / "cut"
    outcomes = on_ranks(train, recipe, cut, True, cwd=recipe.parent)
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    assert json.loads((cut / "summary.json").read_text())["status"] == "interrupted"
    assert [each["env_steps"] for each in records(cut) if each["phase"] == "train"] == [80]

    refused = jepakit_process("resume", "cut", cwd=recipe.parent)
    assert refused.code == 2
    assert "begun by 2 ranks" in refused.err
    assert "torchrun --nproc-per-node 2 -m jepakit resume cut" in refused.err

    outcomes = jepakit_on_ranks("resume", "cut", cwd=recipe.parent)
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    assert records(cut) == records(whole)
    weights = [load_file(folder / "checkpoints" / "000000000480" / "weights.safetensors") for folder in (cut, whole)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["env.num_envs=3"], "3 simulators cannot be shared evenly by 2 ranks"),
        (["algorithm={kind: dqn}"], "`dqn` learns from replay"),
    ],
)
def test_a_recipe_that_ranks_cannot_share_is_refused_once(recipe: Path, overrides: list[str], message: str) -> None:
    words = [word for each in overrides for word in ("--set", each)]
    outcomes = jepakit_on_ranks("run", str(recipe), *words, "--out", "refused", cwd=recipe.parent)
    assert [outcome.code for outcome in outcomes] == [2, 2], outcomes
    assert message in outcomes[0].err
    assert "torchrun" in outcomes[0].err or "a multiple of 2, such as 4" in outcomes[0].err
    assert outcomes[1].err == ""
    assert not (recipe.parent / "refused").exists()


def test_a_ranks_simulators_are_those_of_one_process(recipe: Path) -> None:
    """Their first observations: rank 1 has the third and the fourth simulator."""
    loaded = load_recipe(recipe)
    env, half = build_env(loaded), build_env(loaded.with_values({"env.num_envs": 2}))
    env.set_seed(5)
    half.first_simulator = 2
    half.set_seed(5)
    assert torch.equal(half.reset()["pixels"], env.reset()["pixels"][2:])
    assert half.simulators[0].snapshot() == env.simulators[2].snapshot()


def test_more_ranks_than_rows_of_a_minibatch_are_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "size", lambda: 4)
    assert share_of(load_recipe(recipe)).env.num_envs == 1
    with pytest.raises(RecipeError, match="2 rows cannot be shared by 4 ranks"):
        share_of(load_recipe(recipe, ["algorithm.minibatch_size=2"]))
    with pytest.raises(RecipeError, match=r"has no `num_envs`"):
        share_of(load_recipe(recipe).model_copy(update={"env": SimpleNamespace(kind="mine")}))


@pytest.mark.slow
def test_torchrun_trains_the_main_recipe(tmp_path: Path) -> None:
    few = ["total_steps=400", "env.num_envs=4", "algorithm.rollout_steps=50", "device=cpu", "precision=fp32", "threads=1"]
    words = ["-m", "jepakit", "run", "cartpole_pixels", "--out", "run", *(word for each in few for word in ("--set", each))]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished: 400 env steps") == 1
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["ranks"] == 2
    assert [each["env_steps"] for each in records(tmp_path / "run") if each["phase"] == "train"] == [200, 400]
