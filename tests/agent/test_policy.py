"""A trained policy acts in scripts as `jepakit eval` does."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import jepakit
from jepakit.agent.evaluate import evaluate
from jepakit.agent.frames import FrameStack
from jepakit.errors import UserError
from jepakit.protocols import FrameShape
from tests.agent.conftest import ON, RUNS, Trained, raw_episodes


@pytest.mark.parametrize("name", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_20_episodes_of_raw_envs_are_those_of_eval(trained: Trained, name: str) -> None:
    run = trained(name)
    expected = evaluate(run, 20, seed=7)["greedy"]
    assert len(set(expected["lengths"])) > 2
    played = raw_episodes("CartPole-v1", jepakit.load_policy(run), 7, [10, 10])
    assert played == {key: expected[key] for key in ("returns", "lengths")}


@pytest.mark.parametrize("name", RUNS)
def test_every_algorithm_acts_in_the_envs_own_range(trained: Trained, name: str) -> None:
    policy = jepakit.load_policy(trained(name), seed=3)
    batch = np.random.default_rng(0).integers(0, 256, (40, *policy.frame_shape), dtype=np.uint8)
    greedy, sampled = policy(batch), policy(batch, sample=True)
    assert np.array_equal(policy(batch), greedy)
    assert not np.array_equal(policy(batch, sample=True), sampled)
    policy.seed(3)
    assert np.array_equal(policy(batch, sample=True), sampled)
    for action, one in zip(greedy, batch, strict=True):
        assert policy.action_space is not None
        assert policy.action_space.contains(action)
        assert np.allclose(policy(one), action, atol=1e-5)
    alike = policy(torch.from_numpy(batch))
    assert isinstance(alike, torch.Tensor)
    assert np.array_equal(alike.numpy(), greedy)
    assert policy(torch.from_numpy(batch[0])).shape == greedy[0].shape


def test_continuous_actions_reach_gymnasium_as_in_eval(trained: Trained) -> None:
    run = trained("sac_continuous")
    expected = evaluate(run, 2, seed=1, overrides=["env.max_episode_steps=20"])["greedy"]
    played = raw_episodes("Pendulum-v1", jepakit.load_policy(run), 1, [1, 1], limit=20)
    assert played["returns"] == pytest.approx(expected["returns"], rel=1e-6)  # the env adds up in fp32


def test_samples_leave_the_global_generators_alone(trained: Trained) -> None:
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # type: ignore[func-returns-value]
    expected = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)  # type: ignore[func-returns-value]
    policy = jepakit.load_policy(trained("c51"), sample=True)
    policy(np.zeros((4, *policy.frame_shape), dtype=np.uint8))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]


class FromThree(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Cart Pole whose actions are 3 and 4."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = spaces.Discrete(2, start=3)

    def step(self, action: int) -> Any:
        return super().step(action - 3)


def test_discrete_actions_begin_where_the_env_has_them(tmp_path: Path) -> None:
    wrapped = {"env.wrappers": [{"path": f"{__name__}:FromThree"}]}
    run = jepakit.run("cartpole_pixels", overrides=ON | wrapped, out=tmp_path / "out", quiet=True).path
    policy = jepakit.load_policy(run, trust=True)
    batch = np.random.default_rng(0).integers(0, 256, (40, *policy.frame_shape), dtype=np.uint8)
    assert set(policy(batch, sample=True).tolist()) == {3, 4}


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 1, 40, 61), np.uint8), np.zeros((3, 1, 40, 60), np.float32), np.zeros((1, 40, 60), np.uint8)]
)
def test_pixels_of_another_shape_or_type_are_an_error(trained: Trained, wrong: Any) -> None:
    with pytest.raises(UserError, match=r"pixels must be uint8 \[3, 1, 40, 60\]"):
        jepakit.load_policy(trained("ppo"))(wrong)


def test_images_of_another_kind_are_an_error() -> None:
    stack = FrameStack(FrameShape(3, 3, 8, 12))
    with pytest.raises(UserError, match="begins with reset"):
        stack.add(np.zeros((16, 24, 3), np.uint8))
    for wrong in (np.zeros((16, 24, 3)), np.zeros((16, 24), np.uint8), np.zeros((3, 16, 24), np.uint8)):
        with pytest.raises(UserError, match=r"an image must be uint8 \[H, W, 3\]"):
            stack.reset(wrong)
