"""``jepakit profile``: its figures add up, and its advice follows from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from jepakit.errors import UserError
from jepakit.machine.hardware import Hardware
from jepakit.profiling import advice as rules
from jepakit.profiling.advice import advice
from jepakit.profiling.flops import FlopCounter, peak_flops
from jepakit.profiling.measure import Profile, profile
from jepakit.recipe import load_recipe
from jepakit.training.monitoring.evaluation import Evaluation
from tests.forked import jepakit_process

SMALL = ["env.num_envs=2", "env.size=[20, 30]", "encoder.dim=16", "encoder.heads=2", "encoder.patch=10", "threads=1", "precision=fp32"]
ALGORITHMS = {
    "cartpole_pixels": ["algorithm.rollout_steps=16", "algorithm.minibatch_size=16"],
    "cartpole_dqn": ["algorithm.rollout_steps=8", "algorithm.minibatch_size=8", "replay.sampler=prioritized"],
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_parts_of_a_batch_add_up(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Evaluation, "measure", lambda _: pytest.fail("evaluation is no part of a batch"))
    found = profile(load_recipe(name, [*SMALL, *ALGORITHMS[name], "eval_every=1"]), seconds=0.0)
    assert sum(found.seconds.values()) == pytest.approx(found.batch_seconds)
    assert all(0 <= found.share(part) <= 1 for part in ("env", "policy", "learner", "other"))
    assert found.updates_per_batch > 0
    assert found.update_flops > 0
    assert 0 < sum(operator.share for operator in found.operators) <= 1
    assert json.loads(json.dumps(found.figures()))["batches"] == found.batches >= 1
    assert list(tmp_path.iterdir()) == []  # nothing is kept


def test_a_recipe_that_ends_before_its_first_update_is_one_message() -> None:
    recipe = load_recipe("cartpole_dqn", [*SMALL, *ALGORITHMS["cartpole_dqn"], "total_steps=8"])
    with pytest.raises(UserError, match="before the first update"):
        profile(recipe, seconds=0.0)


def test_operations_of_a_linear_layer_forwards_and_backwards() -> None:
    layer, x = nn.Linear(7, 5), torch.randn(3, 7, requires_grad=True)
    with FlopCounter() as counter:
        layer(x).sum().backward()
    assert counter.flops == 3 * (2 * 3 * 7 * 5)  # the output, the gradient of x, the gradient of the weight


def test_the_peak_is_a_rate() -> None:
    assert 1e8 < peak_flops(Hardware("cpu", "fp32", 1)) < 1e14


FOUND = Profile(
    hardware=Hardware("cpu", "fp32", 2),
    num_envs=4,
    batches=3,
    env_steps_per_batch=1000,
    updates_per_batch=60.0,
    batch_seconds=1.0,
    seconds={"env": 0.1, "policy": 0.1, "learner": 0.1, "other": 0.7},
    checkpoint_seconds=0.01,
    update_seconds=0.01,
    update_flops=10**9,
    peak_flops=2e11,
    operators=(),
)


@pytest.mark.parametrize(
    ("changes", "advised"),
    [
        ({}, []),
        ({"seconds": FOUND.seconds | {"env": 0.6}}, ["`processes: auto` spreads the simulators over 2 cores"]),
        ({"seconds": FOUND.seconds | {"policy": 0.6}}, ["more `env.num_envs`"]),
        ({"seconds": FOUND.seconds | {"policy": 0.6}, "num_envs": 16}, []),
        ({"seconds": FOUND.seconds | {"learner": 0.6}}, ["`precision: bf16` is native"]),
        ({"seconds": FOUND.seconds | {"learner": 0.6}, "peak_flops": 1e13}, ["a larger `algorithm.minibatch_size`", "`threads: 1`"]),
        ({"checkpoint_seconds": 2.0}, ["raise `checkpoint_every` (10,000 env steps now)"]),
    ],
)
def test_advice_follows_from_the_figures(changes: dict[str, object], advised: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "usable_cores", lambda: 2)
    monkeypatch.setattr(rules, "has_fast_bf16", lambda device: True)
    said = list(advice(load_recipe("cartpole_pixels"), replace(FOUND, **changes)))  # type: ignore[arg-type]
    assert len(said) == len(advised), said
    assert all(part in line for part, line in zip(advised, said, strict=True)), said


def test_the_command_shows_where_the_time_goes(tmp_path: Path) -> None:
    words = [word for text in SMALL + ALGORITHMS["cartpole_pixels"] for word in ("--set", text)]
    code, out, err = jepakit_process("profile", "cartpole_pixels", *words, "--seconds", "0", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "env steps/s (cpu, fp32, 1 thread): " in out
    assert [line.split()[0] for line in out.splitlines()[2:6]] == ["env", "policy", "learner", "other"]
    assert list(tmp_path.iterdir()) == []
    code, _, err = jepakit_process("profile", "studies/probes", cwd=tmp_path)
    assert code == 2
    assert "profile one: `--set sweep=null`" in err
