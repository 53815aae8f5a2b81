"""Workers collect what the run's own process would, with the learner's weights; what a lost worker leaves can be resumed."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
import torch

from jepakit import registry
from jepakit.components.algorithms.ppo import PPO
from jepakit.components.collectors.processes import FILES, starting_anew
from jepakit.components.collectors.workers import Desk, lost
from jepakit.components.shared import ranks
from jepakit.machine.hardware import Hardware
from jepakit.protocols import PIXELS, POLICY_VERSION, WorkerLost
from jepakit.recipe import Recipe, load_recipe, recipe_id
from jepakit.recipe.errors import RecipeError
from jepakit.training.build import build_env, build_learner
from jepakit.training.collecting.acting import RunActing
from jepakit.training.collecting.build import build_collector
from jepakit.training.loop import Loop
from jepakit.training.run import resume, run

SMALL: dict[str, Any] = {
    "total_steps": 240,
    "env": {"kind": "gym", "id": "CartPole-v1", "num_envs": 2, "size": [16, 24]},
    "encoder": {"kind": "vit", "dim": 8, "depth": 1, "heads": 2, "patch": 8},
    "algorithm": {"kind": "ppo", "rollout_steps": 20, "epochs": 1, "minibatch_size": 20},
    "checkpoint_every": 1000,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}
OFF_POLICY = {"kind": "dqn", "rollout_steps": 20, "minibatch_size": 8, "learning_starts": 40, "updates_per_step": 0.1}


def recipe(**values: Any) -> Recipe:
    return load_recipe(SMALL | values)


def records(folder: Path) -> list[dict[str, Any]]:
    """The metrics without times, and without what only workers have."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(("time/", "collector/", "wall_s"))} for line in lines]


def texts(folder: Path) -> str:
    return (folder / "events.jsonl").read_text()


def at_batch(monkeypatch: pytest.MonkeyPatch, env_steps: int, do: Any) -> None:
    """Call ``do(loop)`` once, after the batch that ends at ``env_steps``."""
    before = Loop._record_batch

    def record(loop: Loop, *arguments: Any) -> None:
        before(loop, *arguments)
        if loop.history.env_steps == env_steps:
            do(loop)

    monkeypatch.setattr(Loop, "_record_batch", record)


def processes(loop: Loop) -> list[Any]:
    return list(loop.state.collector.remote.collector.procs)  # type: ignore[attr-defined]


def interrupt(loop: Loop) -> None:
    for process in processes(loop):
        for number in (signal.SIGINT, signal.SIGTERM):  # a terminal and a scheduler send them to workers, too
            os.kill(process.pid, number)
    loop.stop_requested = lambda: True


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_multi_sync_interrupted_and_resumed_is_the_uninterrupted_run_and_with_one_worker_direct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    collector = {"kind": "multi_sync", "workers": workers}
    whole = {"kind": "direct"} if workers == 1 else collector
    run(recipe(collector=whole), out=tmp_path / "whole", quiet=True)
    at_batch(monkeypatch, 120, interrupt)
    assert run(recipe(collector=collector), out=tmp_path / "run", quiet=True).summary["status"] == "interrupted"
    monkeypatch.undo()
    assert resume(tmp_path / "run", quiet=True).summary["status"] == "finished"
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    assert "new episodes" not in texts(tmp_path / "run")
    assert torch.get_num_threads() == 1  # TorchRL changes it


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_with_a_checkpoint_to_resume_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(loop: Loop) -> None:
        os.kill(processes(loop)[0].pid, signal.SIGKILL)

    at_batch(monkeypatch, 120, kill)
    with pytest.raises(WorkerLost, match="worker 0 of 1 of the collector was killed by SIGKILL") as caught:
        run(recipe(collector={"kind": "multi_sync", "workers": 1}), out=tmp_path / "run", quiet=True)
    assert any("jepakit resume" in note for note in caught.value.__notes__)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000000000120"]
    summary = resume(tmp_path / "run", quiet=True).summary
    assert (summary["status"], summary["env_steps"]) == ("finished", 240)
    assert "the checkpoint holds no simulators: new episodes begin" in texts(tmp_path / "run")


def test_a_worker_that_dies_at_its_start_is_named(tmp_path: Path) -> None:
    torchrls = RuntimeError("Worker 1 failed to initialize and closed the connection before sending status. Check the worker process logs")
    told = str(lost([Desk(tmp_path / "0", "worker 0"), Desk(tmp_path / "1", "worker 1")], (), torchrls))
    assert told == "worker 1 ended as it started, without a word: perhaps the system killed it for want of memory"


def test_a_worker_that_a_full_shared_memory_ends_says_so(tmp_path: Path) -> None:
    ended = [SimpleNamespace(exitcode=-signal.SIGBUS)]
    told = str(lost([Desk(tmp_path / "0", "worker 0")], ended, EOFError()))
    assert told.startswith("worker 0 was killed by SIGBUS: shared memory is perhaps full; /dev/shm has ")


def test_workers_may_open_more_files_than_a_small_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with starting_anew():
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(FILES, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


PLUGIN = """
import multiprocessing
import gymnasium
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from torch import nn
from jepakit import register


class Fails(CartPoleEnv):
    steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps == 30 and multiprocessing.parent_process():
            raise OSError("the pole is gone")
        return super().step(action)


gymnasium.register("Fails-v0", Fails)


@register("encoder", "mine")
class Mine(nn.Module):
    def __init__(self, frames, *, dim: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(frames[0] * frames[1] * frames[2] * frames[3], dim)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("count", torch.tensor(255))  # of 8 bytes, after an odd number of weights of 4

    def forward(self, pixels):
        return self.linear(pixels.flatten(-4).float() / self.count) * self.scale
"""


def test_multi_async_lags_by_a_round_of_updates_and_a_plug_ins_failure_comes_home(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    env = {**SMALL["env"], "id": "Fails-v0", "max_episode_steps": 500}
    lagging = recipe(
        env=env, encoder={"kind": "mine"}, plugins=[str(plugin)], collector={"kind": "multi_async", "workers": 1, "allow_lag": True}
    ).with_values({"algorithm.rollout_steps": 14})
    with pytest.raises(WorkerLost, match=r"worker 0 of 1 of the collector has failed: .*OSError: the pole is gone"):
        run(lagging, out=tmp_path / "run", quiet=True)
    assert "`multi_async` cannot restore its workers' simulators: a resumed run begins new episodes" in texts(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["phase"] == "train"]
    updates = trained[0]["updates"]
    assert [(line["collector/lag_updates"], line["collector/lag_env_steps_max"]) for line in trained] == [(0, 0), (updates, 28)]


class Tiny(PPO):
    """PPO, registered by a test."""


def test_workers_build_components_of_files_and_scripts_and_act_with_the_learners_weights(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    registry.register("algorithm", "tiny")(Tiny)
    try:
        chosen = recipe(encoder={"kind": "mine"}, algorithm={**SMALL["algorithm"], "kind": "tiny"}, plugins=[str(plugin)])
        plugin.unlink()
        env = build_env(chosen)
        learner = build_learner(chosen, env, Hardware("cpu", "fp32", 1))
        acting = RunActing(chosen, env, learner, lambda: 0)
        make: bytes = cloudpickle.dumps(acting.actor(1, 2))
        registry.forget(lambda module: module.startswith("jepakit_plugin_"))
        actor = pickle.loads(make)()
        with torch.no_grad():
            for parameter in learner.encoder.parameters():
                parameter.add_(1.0)
        seen = actor.env.reset()
        assert seen.batch_size == (1,)
        stale = actor.policy(seen.clone())["state_value"]
        actor.take(acting.weights())
        acted = actor.policy(seen.clone())
        expected = learner.algorithm.policy_head()(seen.select().set("s_x", learner.embed(seen[PIXELS])))["state_value"]
        assert torch.equal(acted["state_value"], expected)
        assert not torch.equal(acted["state_value"], stale)
        assert acted[POLICY_VERSION].tolist() == [0]
        actor.env.close()
        env.close()
    finally:
        registry.forget(lambda module: module == __name__)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"collector": {"kind": "multi_sync", "workers": 3}}, "3 workers cannot share 2 simulators equally"),
        (
            {"collector": {"kind": "multi_async"}},
            "(?s)older weights than the learner's, and `ppo` is on-policy.*allow_lag: true",
        ),
    ],
)
def test_what_cannot_work_is_an_error_at_its_place(values: dict[str, Any], wrong: str) -> None:
    refused = recipe(**values)
    env = build_env(refused)
    learner = build_learner(refused, env, Hardware("cpu", "fp32", 1))
    with pytest.raises(RecipeError, match=wrong):
        build_collector(refused, env, learner.algorithm)
    env.close()


def test_several_ranks_take_direct_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = recipe(collector={"kind": "multi_sync"})
    env = build_env(refused)
    monkeypatch.setattr(ranks, "size", lambda: 2)
    with pytest.raises(RecipeError, match=r"(?s)`multi_sync` has workers of its own, which 2 ranks cannot share.*`direct`"):
        build_learner(refused, env, Hardware("cpu", "fp32", 1))
    env.close()


def test_off_policy_algorithms_may_lag() -> None:
    chosen = recipe(collector={"kind": "multi_async"}, algorithm=OFF_POLICY)
    env = build_env(chosen)
    assert build_collector(chosen, env, build_learner(chosen, env, Hardware("cpu", "fp32", 1)).algorithm).lags
    env.close()


def test_only_another_collector_than_direct_is_part_of_an_id() -> None:
    assert recipe_id(load_recipe("cartpole_pixels")) == recipe_id(load_recipe("cartpole_pixels", ["collector={kind: direct}"]))
    assert recipe_id(load_recipe("cartpole_pixels")) != recipe_id(load_recipe("cartpole_pixels", ["collector={kind: multi_sync}"]))
