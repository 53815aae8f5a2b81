"""Tests of the projector `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file

MyComponent = load_file(Path(__file__).parents[1] / "projector.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("projector", MyComponent, dim=8)


def test_projections_all_have_the_same_norm() -> None:
    """The rules do not cover this. Replace this test with one for your projector's behaviour."""
    projections = MyComponent(4, dim=16)(100 * torch.randn(5, 4))
    torch.testing.assert_close(projections.norm(dim=-1), torch.full((5,), 4.0), rtol=0.01, atol=0.0)
