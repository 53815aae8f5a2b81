"""Studies whose runs are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jepakit.sweep import scheduler
from jepakit.tuning import figures
from jepakit.tuning import tune as tuning
from tests.small import small_recipe

RECIPE = small_recipe("tuned")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The file of a recipe for a small run."""
    file = tmp_path / "tuned.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(autouse=True)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs are made up: no waiting, no rehearsal, no flush to the disk, and figures only where a test asks for them."""
    if "real" in request.fixturenames:
        return
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(tuning, "rehearse_runs", lambda runs: len(list(runs)))
    monkeypatch.setattr(os, "fsync", lambda _: None)
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(figures, "draw_history", lambda _: None)
        monkeypatch.setattr(figures, "draw_importance", lambda _: None)


@pytest.fixture
def real() -> None:
    """Asks for real runs."""


@pytest.fixture
def drawn() -> None:
    """Asks for figures."""
