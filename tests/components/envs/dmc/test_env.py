import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from jepakit.components.envs.dmc.env import DmcEnv
from jepakit.components.envs.dmc.simulator import SuiteSimulator, make_simulator
from jepakit.errors import UserError
from jepakit.training.run import run

pytestmark = pytest.mark.usefixtures("opengl_here")
SWINGUP: dict[str, Any] = {"domain": "cartpole", "task": "swingup"}
SMALL: dict[str, Any] = {"num_envs": 1, "size": (16, 16), "draw": "fast"}


def suite_env(domain: str, task: str, seed: int) -> Any:
    from dm_control import suite

    return suite.load(domain, task, task_kwargs={"random": seed})


def test_exact_frames_match_dm_control_and_rewards_are_summed() -> None:
    env = DmcEnv(3, **SWINGUP, action_repeat=3, num_envs=1, max_episode_steps=8)
    theirs = suite_env("cartpole", "swingup", int(np.random.SeedSequence(3).generate_state(1)[0]))
    theirs.reset()

    def frame() -> torch.Tensor:
        return torch.from_numpy(theirs.physics.render(84, 84, camera_id=0).copy()).permute(2, 0, 1)

    now = env.reset()
    assert now["pixels"].shape == (1, 3, 3, 84, 84)
    assert torch.equal(now["pixels"][0], frame().expand(3, -1, -1, -1))
    for repeats, is_last in ((3, False), (3, False), (2, True)):
        action = env.action_spec.rand()
        step = env.step(TensorDict({"action": action}, [1]))["next"]
        expected = sum(theirs.step(action[0].numpy()).reward for _ in range(repeats))
        assert step["reward"].item() == pytest.approx(expected, abs=1e-6)
        assert torch.equal(step["pixels"][0, -1], frame())
        assert step["truncated"].item() == step["done"].item() == is_last
        assert not step["terminated"]


def test_an_episode_is_truncated_at_dm_controls_time_limit() -> None:
    ours, theirs = make_simulator("reacher", "easy", 300, (8, 8), 0, "fast", 1000), suite_env("reacher", "easy", 5)
    ours.reset(seed=5)
    theirs.reset()
    draws, ends = np.random.default_rng(0), []
    for _ in range(4):
        action = draws.uniform(-1, 1, 2)
        _, reward, terminated, truncated, _ = ours.step(action)
        expected = 0.0
        for _ in range(300):
            now = theirs.step(action)
            expected += now.reward
            if now.last():
                break
        assert reward == expected
        assert truncated == now.last()
        ends.append((terminated, truncated))
    assert ends == [(False, False)] * 3 + [(False, True)]
    assert now.discount == 1
    ours.close()


def test_a_discount_of_zero_terminates() -> None:
    simulator = SuiteSimulator("lqr", "lqr_2_1", (8, 8), 0, "fast", 1000)
    simulator.reset(seed=0)
    simulator.physics.data.qpos[:] = simulator.physics.data.qvel[:] = 0.0
    simulator.physics.forward()
    assert simulator.step(np.zeros(1))[2:4] == (True, False)
    simulator.close()


def test_the_seed_determines_every_episode() -> None:
    simulators = [make_simulator("cartpole", "swingup", 1, (8, 8), 0, "fast", 1000) for _ in range(2)]
    first, again = ([s.reset(seed=7)[0]["position"].tolist(), *(s.reset()[0]["position"].tolist() for _ in range(2))] for s in simulators)
    assert first == again
    assert len({tuple(position) for position in first}) == 3


# a walker's contacts need the solver's warm start; a reacher's target is part of the model
@pytest.mark.parametrize(("domain", "task"), [("walker", "walk"), ("reacher", "easy")])
def test_a_restored_env_continues_exactly(domain: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (DmcEnv(seed, domain=domain, task=task, **SMALL) for seed in (0, 1))
    one.rollout(60)
    other.rollout(3)
    where = one.snapshot()
    where["simulators"] = json.loads(json.dumps(where["simulators"]))
    with monkeypatch.context() as patched:
        patched.setattr(DmcEnv, "_image", None)  # restoring renders nothing
        other.restore(where)
    actions = torch.stack([one.action_spec.rand() for _ in range(20)])
    plays = []
    for env in (one, other):
        if env is other:
            assert torch.equal(env.reset()["pixels"], where["stacks"])
        plays.append([env.step(TensorDict({"action": action}, [1]))["next"].clone() for action in actions])
    assert all((mine == theirs).all() for mine, theirs in zip(*plays, strict=True))

    (image,) = one.render()
    assert one.restores_exactly()
    assert np.array_equal(one.render()[0], image), "closing simulators leaves the OpenGL contexts of others intact"


def test_fast_rendering_changes_frames_slightly_but_not_the_episode() -> None:
    envs = [DmcEnv(0, **SWINGUP, num_envs=1, draw=draw) for draw in ("exact", "fast")]
    assert [env.drawing["draw"] for env in envs] == ["exact", "fast"]
    for env in envs:
        env.reset()
    exact, fast = (env.step(TensorDict({"action": torch.ones(1, 1)}, [1]))["next"] for env in envs)
    assert torch.equal(exact["reward"], fast["reward"])
    apart = (exact["pixels"].int() - fast["pixels"].int()).abs().float().mean()
    assert 0.1 < apart < 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"domain": "cartpol", "task": "swingup"}, "the suite has no `cartpol`; did you mean `cartpole`"),
        ({"domain": "walker", "task": "wlk"}, "`walker` has no `wlk`; did you mean `walk`"),
        ({**SWINGUP, "camera": "front"}, "camera: .*'front' does not exist"),
        ({**SWINGUP, "camera": 9}, "camera: model has 2 fixed cameras"),
        ({"domain": "lqr", "task": "lqr_2_1"}, "its actions are Box.*-inf.*supported are"),
    ],
)
def test_a_mistake_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DmcEnv(0, **fields, **SMALL)


@pytest.mark.parametrize(
    "recipe", ["dmc/jepa_sac", "dmc/jepa_ppo", *(pytest.param(each, marks=pytest.mark.slow) for each in ("dmc/drq", "dmc/curl"))]
)
def test_a_run_records_its_frame_count_and_renderer(recipe: str, tmp_path: Path) -> None:
    small: dict[str, Any] = {"env.num_envs": 1, "env.size": [24, 24], "env.draw": "fast", "env.action_repeat": 4, "threads": 1}
    small |= {"total_steps": 32, "algorithm.rollout_steps": 16, "algorithm.minibatch_size": 8}
    if recipe != "dmc/jepa_ppo":
        small |= {"algorithm.learning_starts": 16, "algorithm.updates_per_step": 0.125, "replay.capacity": 100}
    summary = run(recipe, overrides=small, out=tmp_path / "run", quiet=True).summary
    assert (summary["env_steps"], summary["frames"]) == (32, 128)
    assert summary["updates"] > 0
    told = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert told["drawing"].items() >= {"draw": "fast", "opengl": DmcEnv(0, **SWINGUP, **SMALL).drawing["opengl"]}.items()
    assert {"dm_control", "mujoco"} <= told["packages"].keys()
