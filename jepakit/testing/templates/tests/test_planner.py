"""Tests of the planner `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file
from torchrl.data import Categorical

MyComponent = load_file(Path(__file__).parents[1] / "planner.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("planner", MyComponent)


def test_a_proposal_that_scores_highest_is_the_plan() -> None:
    """The rules do not cover this. Replace this test with one for your planner's behaviour."""
    proposals = torch.tensor([[[2, 2, 2, 2, 2, 2]]])
    plan = MyComponent(Categorical(3), samples=8)(lambda a: a.sum(-1).float(), proposals, proposals[:, 0], torch.tensor([False]))
    assert plan.tolist() == [[2, 2, 2, 2, 2, 2]]
