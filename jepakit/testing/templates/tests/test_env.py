"""Tests of the env `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file
from tensordict import TensorDict

MyComponent = load_file(Path(__file__).parents[1] / "env.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("env", MyComponent, num_envs=3, size=(8, 12))


def test_a_dot_that_moves_right_reaches_the_border() -> None:
    """The rules do not cover this. Replace this test with one for your env's behaviour."""
    env = MyComponent(0, num_envs=2, size=(4, 8))
    env.reset()
    steps = [env.step(TensorDict({"action": torch.ones(2, dtype=torch.int64)}, [2]))["next"] for _ in range(8)]
    assert any(step["terminated"].any() for step in steps)
    assert all(torch.equal(step["reward"] > 0, step["terminated"]) for step in steps)
