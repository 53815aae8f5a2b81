"""Tests of the regularizer `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "regularizer.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("regularizer", MyComponent, floor=0.5)


def test_only_collapse_is_penalised() -> None:
    """The rules do not cover this. Replace this test with one for your regularizer's behaviour."""
    regularizer = MyComponent(floor=1.0)
    assert regularizer(torch.ones(64, 4)) > 0.9
    assert regularizer(10 * torch.randn(64, 4)) == 0
