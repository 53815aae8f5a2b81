"""Tests of the projector `my_component`."""

import torch

from jepakit.testing import check_component
from jepakit.testing.templates.projector import MyComponent


def test_it_keeps_all_rules_of_its_slot() -> None:
    """Says which it breaks, and what to do."""
    check_component("projector", MyComponent, dim=8)


def test_projections_have_one_length() -> None:
    """What this projector does beside the rules: replace it by what yours is for."""
    projections = MyComponent(4, dim=16)(100 * torch.randn(5, 4))
    torch.testing.assert_close(projections.norm(dim=-1), torch.full((5,), 4.0), rtol=0.01, atol=0.0)
