"""Tests of the curiosity `my_component`."""

from pathlib import Path

import torch
from jepakit import FrameShape
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "curiosity.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("curiosity", MyComponent, size=2)


def test_a_frame_that_changes_surprises_more_once_stillness_is_learned() -> None:
    """The rules do not cover this. Replace this test with one for your curiosity's behaviour."""
    curiosity = MyComponent(FrameShape(2, 1, 8, 12), size=2)
    with torch.no_grad():  # as if it had learned that nothing changes
        curiosity.head.weight.copy_(torch.eye(4))
        curiosity.head.bias.zero_()
    still = torch.full((1, 2, 1, 8, 12), 100, dtype=torch.uint8)
    assert curiosity.surprise(still, still) == 0
    assert curiosity.surprise(still, still + 100) > 0
