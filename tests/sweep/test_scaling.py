"""A sweep over encoders says so if it also changes input scaling."""

from __future__ import annotations

import pytest

from jepakit.sweep.plan import load_sweep


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ("encoder={kind: nature_cnn},{dim: 32}", True),
        ("encoder={kind: nature_cnn, scaling: inverted},{dim: 32, scaling: inverted}", False),
        ("encoder={kind: nature_cnn},{kind: impala}", True),  # both differ from the recipe's encoder
        ("encoder={kind: nature_cnn, scaling: unit},{kind: impala, scaling: unit}", False),
        ("encoder.scaling=inverted,unit", False),  # scaling itself is ablated
        ("encoder.dim=32,64", False),
    ],
)
def test_a_sweep_that_also_changes_scaling_says_so(over: str, told: bool) -> None:
    notes = load_sweep("cartpole_pixels", over=[over], overrides=["sweep=null"]).notes
    assert any("also differ in input scaling" in note for note in notes) == told
