"""Tests of the algorithm `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file
from tensordict import TensorDict
from torchrl.data import Categorical

MyComponent = load_file(Path(__file__).parents[1] / "algorithm.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("algorithm", MyComponent, gamma=0.9)


def test_returns_are_discounted_to_the_end_of_the_episode() -> None:
    """The rules do not cover this. Replace this test with one for your algorithm's behaviour."""
    algorithm = MyComponent(4, Categorical(2), gamma=0.5)
    end = torch.tensor([[[False], [False], [True]]])
    after = {"reward": torch.ones(1, 3, 1), "done": end, "terminated": end, "pixels": torch.zeros(1, 3, 1, 1, 2, 2, dtype=torch.uint8)}
    rollout = algorithm.prepare(TensorDict({"next": after}, [1, 3]), lambda pixels: pixels.flatten(-4).float())
    assert rollout["return"].flatten().tolist() == [1.75, 1.5, 1.0]
