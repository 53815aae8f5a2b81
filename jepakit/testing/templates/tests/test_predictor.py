"""Tests of the predictor `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file
from torchrl.data import Categorical

MyComponent = load_file(Path(__file__).parents[1] / "predictor.py").MyComponent


def test_it_keeps_all_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("predictor", MyComponent, hidden=16)


def test_the_action_matters() -> None:
    """What this predictor does beyond the rules: replace this test with one for yours."""
    predictor = MyComponent(4, Categorical(2), hidden=16)
    left, right = predictor(torch.ones(2, 4), torch.tensor([0, 1]))
    assert not torch.equal(left, right)
