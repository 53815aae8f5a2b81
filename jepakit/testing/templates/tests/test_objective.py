"""Tests of the objective `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "objective.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("objective", MyComponent, p=1.5)


def test_powers_of_the_differences_are_summed() -> None:
    """The rules do not cover this. Replace this test with one for your objective's behaviour."""
    s_y_hat, s_y = torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert MyComponent(p=1.0)(s_y_hat, s_y).tolist() == [3.0, 0.0]
    assert MyComponent(p=2.0)(s_y_hat, s_y).tolist() == [5.0, 0.0]
