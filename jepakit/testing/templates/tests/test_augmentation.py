"""Tests of the augmentation `my_component`."""

from pathlib import Path

import torch
from jepakit import FrameShape
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "augmentation.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("augmentation", MyComponent, amount=8)


def test_pixels_change_by_at_most_amount() -> None:
    """The rules do not cover this. Replace this test with one for your augmentation's behaviour."""
    pixels = torch.full((100, 2, 1, 4, 4), 100, dtype=torch.uint8)
    change = MyComponent(FrameShape(2, 1, 4, 4), amount=3)(pixels).int() - 100
    assert sorted(set(change.flatten().tolist())) == [-3, -2, -1, 0, 1, 2, 3]
