"""Tests of the diagnostic `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "diagnostic.py").MyComponent


def test_it_keeps_all_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("diagnostic", MyComponent)


def test_its_figure() -> None:
    """What this diagnostic does beyond the rules: replace this test with one for yours."""
    s_x = torch.tensor([[1.0, -3.0], [2.0, 0.0]])
    assert MyComponent()(s_x)["my_component/largest"] == 3
    assert MyComponent(absolute=False)(s_x)["my_component/largest"] == 2
