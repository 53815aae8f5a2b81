"""Tests of the predictor `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file
from torchrl.data import Categorical

MyComponent = load_file(Path(__file__).parents[1] / "predictor.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("predictor", MyComponent, hidden=16)


def test_the_prediction_depends_on_the_action() -> None:
    """The rules do not cover this. Replace this test with one for your predictor's behaviour."""
    predictor = MyComponent(4, Categorical(2), hidden=16)
    left, right = predictor(torch.ones(2, 4), torch.tensor([0, 1]))
    assert not torch.equal(left, right)
