"""Simulators in several processes do what they do in one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDictBase

from jepakit import resume, run
from jepakit.components.envs.batched import EnvFailed
from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.processes.remote import in_processes
from jepakit.errors import UserError
from jepakit.recipe import load_recipe, recipe_id
from jepakit.training.build import build_env

SMALL = {
    "env.num_envs": 3,
    "algorithm.rollout_steps": 20,
    "algorithm.epochs": 1,
    "algorithm.minibatch_size": 30,
    "total_steps": 120,
    "threads": 1,
    "checkpoint_every": 60,
}
CLOCK = ("time/", "wall_s", "steps_per", "seconds")
PLUGIN = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Mine(CartPoleEnv):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward + 1, terminated, truncated, info

gymnasium.register("Mine-v0", Mine, max_episode_steps=30)
"""


def make_env(processes: int, **fields: Any) -> GymEnv:
    return GymEnv(0, processes, **{"id": "CartPole-v1", "num_envs": 5, "size": (20, 30), "max_episode_steps": 11} | fields)


def play(env: GymEnv, steps: int = 30) -> TensorDictBase:
    torch.manual_seed(0)
    return env.rollout(steps, break_when_any_done=False)


def test_episodes_are_the_same_in_any_number_of_processes_and_go_on_from_one_to_another() -> None:
    one, three = make_env(1), make_env(3)
    assert len({simulator.worker.process.pid for simulator in three.simulators}) == 3
    expected, played = play(one), play(three)
    assert (played == expected).all()
    one.restore(three.snapshot())
    three.restore(three.snapshot())
    assert (play(three) == play(one)).all()
    three.close()


def test_a_run_has_the_same_id_and_the_same_numbers(tmp_path: Path) -> None:
    once, twice = (SMALL | {"processes": processes} for processes in (1, "auto"))
    assert recipe_id(load_recipe("cartpole_pixels", once)) == recipe_id(load_recipe("cartpole_pixels", twice))
    records = []
    for name, overrides in (("one", once), ("many", twice)):
        run("cartpole_pixels", overrides=overrides, out=tmp_path / name, quiet=True)
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        records.append([{key: value for key, value in line.items() if not key.startswith(CLOCK)} for line in lines])
    assert records[0] == records[1]
    assert resume(tmp_path / "many").summary["status"] == "finished"


def test_a_plugin_s_env_is_there_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN)
    overrides = {"plugins": [str(tmp_path / "mine.py")], "processes": 2, "env": {"kind": "gym", "id": "Mine-v0", "num_envs": 2}}
    env = build_env(load_recipe("cartpole_pixels", overrides))
    assert play(env, 5)["next", "reward"].unique().tolist() == [2]
    env.close()


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(UserError, match="CartPole-v9"):
        make_env(2, id="CartPole-v9")
    lock = threading.Lock()  # cannot be pickled
    with pytest.raises(UserError, match="write `processes: 1`"):
        in_processes(lambda: lock, 2, 2)  # type: ignore[arg-type, return-value]
    env = make_env(2)
    env.simulators[0].worker.process.kill()
    with pytest.raises(EnvFailed, match="has ended, with exit code -9"):
        play(env)
    env.close()


@pytest.mark.parametrize("is_sent", [True, False])
def test_an_exception_that_cannot_be_made_here_keeps_its_text_and_traceback(is_sent: bool) -> None:
    def failing() -> gymnasium.Env[Any, Any]:
        class TwoArguments(Exception):
            def __init__(self, one: int, two: int) -> None:
                super().__init__(f"{one} of {two} wheels are left")

            def __reduce__(self) -> Any:
                return (int, ("two",)) if is_sent else super().__reduce__()  # raises here, or there

        class Failing(gymnasium.Env[Any, Any]):
            render_mode = "rgb_array"
            action_space = gymnasium.spaces.Discrete(2)

            def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
                raise TwoArguments(1, 4)

            def render(self) -> Any:
                return np.zeros((1, 1, 3), dtype=np.uint8)

        return Failing()

    simulator, other = in_processes(failing, 2, 2)
    with pytest.raises(RuntimeError, match="TwoArguments: 1 of 4 wheels are left") as caught:
        simulator.step(0)
    assert "in step" in caught.value.__notes__[0]
    for each in (simulator, other):
        each.close()


def test_an_image_is_the_caller_s_own_whatever_its_size() -> None:
    def growing() -> gymnasium.Env[Any, Any]:
        """A simulator that draws one pixel more after each step, all of the step's number."""

        class Growing(gymnasium.Env[Any, Any]):
            render_mode = "rgb_array"
            action_space = gymnasium.spaces.Discrete(2)

            def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
                super().reset(seed=seed)
                self.steps = 0
                return None, {}

            def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
                self.steps += 1
                return None, 0.0, False, False, {}

            def render(self) -> Any:
                return np.full((1, 1 + self.steps, 3), self.steps, dtype=np.uint8)

        simulator = Growing()
        simulator.reset()
        return simulator

    simulators = in_processes(growing, 3, 2)  # defined in here, so that the processes need not import this module
    images: list[Any] = [simulator.render() for simulator in simulators]
    for _ in range(2):
        for simulator in simulators:
            simulator.step(0)
        images += [simulator.render() for simulator in simulators]
        images += [simulator.render() for simulator in simulators]  # drawn again
    for simulator in simulators:
        simulator.reset()
        images.append(simulator.render())
    for simulator in simulators:
        simulator.close()
    steps = [0] * 3 + [1] * 6 + [2] * 6 + [0] * 3
    assert [(image.shape, image.max(), image.min()) for image in images] == [((1, 1 + n, 3), n, n) for n in steps]


def test_an_image_is_written_to_memory_that_both_share() -> None:
    env = make_env(2)
    env.reset()
    simulator = env.simulators[0]
    kept = simulator.render()
    assert simulator._memory is not None
    assert np.array_equal(simulator._memory, kept)
    before = kept.copy()
    for _ in range(3):
        simulator.step(1)
    assert np.array_equal(kept, before)
    assert not np.array_equal(simulator.render(), before)
    env.close()


def test_kinds_that_step_in_one_process_say_so() -> None:
    with pytest.raises(UserError, match="write `processes: 1`"):
        build_env(load_recipe("cartpole_pixels", ["processes=2", "env={kind: gym_state, id: CartPole-v1}"]))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_no_process_outlives_its_parent() -> None:
    script = f"""
import signal, sys, time
sys.path[:] = {sys.path!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
from functools import partial
from jepakit.components.envs.processes.remote import in_processes
from jepakit.components.envs.simulators import make_simulator
simulators = in_processes(partial(make_simulator, "CartPole-v1", None, {{}}), 2, 2)
print(*(simulator.worker.process.pid for simulator in simulators), flush=True)
time.sleep(60)
"""
    for sent in (signal.SIGKILL, signal.SIGINT):
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert parent.stdout
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        os.kill(parent.pid, sent)
        parent.wait()
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
