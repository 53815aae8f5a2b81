"""Tests of the encoder `my_component`."""

from pathlib import Path

import torch
from jepakit import FrameShape
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "encoder.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("encoder", MyComponent, dim=16)


def test_s_x_depends_on_where_a_dot_is() -> None:
    """The rules do not cover this. Replace this test with one for your encoder's behaviour."""
    encoder = MyComponent(FrameShape(1, 1, 40, 60), dim=16)
    pixels = torch.full((2, 1, 1, 40, 60), 255, dtype=torch.uint8)
    pixels[0, ..., 10:14, 10:14] = 0
    pixels[1, ..., 10:14, 30:34] = 0
    left, right = encoder(pixels)
    assert (left - right).abs().max() > 1e-3
