"""Tests of the target `my_component`."""

from pathlib import Path

import torch
from jepakit.testing import check_component, load_file
from torch import nn

MyComponent = load_file(Path(__file__).parents[1] / "target.py").MyComponent


def test_my_component_follows_the_rules_of_its_slot() -> None:
    """A failure lists the broken rules and how to fix them."""
    check_component("target", MyComponent, rate=0.5)


def test_an_update_moves_the_target_by_rate() -> None:
    """The rules do not cover this. Replace this test with one for your target's behaviour."""
    online = nn.Linear(3, 2)
    target = MyComponent(online, rate=0.25)
    start = online.weight.detach().clone()
    with torch.no_grad():
        online.weight.add_(1.0)
    target.update(online)
    torch.testing.assert_close(target.encoder.weight, start + 0.25)
