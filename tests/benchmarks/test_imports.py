"""Every benchmark can be started: what it imports is still where it says."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import jepakit

BENCHMARKS = Path(jepakit.__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", sorted(file.stem for file in BENCHMARKS.glob("*.py")))
def test_a_benchmark_imports(name: str) -> None:
    assert importlib.import_module(f"benchmarks.{name}").__doc__
