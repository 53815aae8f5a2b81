"""Tests of the distraction `my_component`."""

from pathlib import Path

import torch
from jepakit import FrameShape
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "distraction.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("distraction", MyComponent, width=4)


def test_the_bar_moves() -> None:
    """The rules do not cover this. Replace this test with one for your distraction's behaviour."""
    distraction = MyComponent(0, FrameShape(2, 1, 4, 12), width=3)
    frame = torch.zeros(1, 4, 12, dtype=torch.uint8)
    everywhere = torch.ones(4, 12, dtype=torch.bool)
    shown = [distraction(frame, lambda: everywhere, episode=1, step=step) for step in (0, 1)]
    assert [int((one > 0).any(dim=1).nonzero()[0, 1]) for one in shown] == [0, 1]
