"""A small recipe, as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweep.conftest import RECIPE


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The file of a recipe for a small run."""
    file = tmp_path / "swept.yaml"
    file.write_text(RECIPE)
    return file
