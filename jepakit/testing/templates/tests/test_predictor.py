"""Tests of the predictor `my_component`."""

import torch
from torchrl.data import Categorical

from jepakit.testing import check_component
from jepakit.testing.templates.predictor import MyComponent


def test_it_keeps_all_rules_of_its_slot() -> None:
    """Says which it breaks, and what to do."""
    check_component("predictor", MyComponent, hidden=16)


def test_what_is_done_matters() -> None:
    """What this predictor does beside the rules: replace it by what yours is for."""
    predictor = MyComponent(4, Categorical(2), hidden=16)
    left, right = predictor(torch.ones(2, 4), torch.tensor([0, 1]))
    assert not torch.equal(left, right)
