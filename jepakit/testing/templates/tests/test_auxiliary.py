"""Tests of the auxiliary term `my_component`."""

from pathlib import Path

import torch
from jepakit import FrameShape
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "auxiliary.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("auxiliary", MyComponent, size=2)


def test_only_the_newest_frame_is_predicted() -> None:
    """The rules do not cover this. Replace this test with one for your term's behaviour."""
    term = MyComponent(FrameShape(2, 1, 8, 12), 5, size=2)
    s_x, pixels = torch.randn(3, 5), torch.randint(0, 256, (3, 2, 1, 8, 12), dtype=torch.uint8)
    before = term(s_x, pixels)
    pixels[:, 0] = 0
    assert term(s_x, pixels) == before
    pixels[:, 1] = 0
    assert term(s_x, pixels) != before
