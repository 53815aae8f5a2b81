"""The main recipe learns. Slow: `pytest -m slow` runs it, in some two minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from jepakit.training.run import run


@pytest.mark.slow
def test_the_main_recipe_learns_within_20_000_steps(tmp_path: Path) -> None:
    summary = run("cartpole_pixels", overrides=["total_steps=20_000"], out=tmp_path / "out", quiet=True).summary
    assert summary["return_last_100"] > 40  # a random policy's episodes last 22 steps
    assert not summary["collapsed"]
