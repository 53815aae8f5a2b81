"""Sweeps and comparisons from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import jepakit
from jepakit.components.engines import processes
from tests.forked import ForkedRun

SMALL = {"total_steps": 64, "env.num_envs": 2, "algorithm.rollout_steps": 16, "algorithm.minibatch_size": 16}


def test_a_sweep_is_run_once_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "start_process", ForkedRun)
    over = {"encoder": [{"dim": 16, "heads": 2}, {"kind": "nature_cnn", "dim": 16}], "algorithm.hidden": [[8]]}
    outcomes = jepakit.ablate("cartpole_pixels", over, overrides=SMALL, seeds=1, out=tmp_path, quiet=True)
    assert [(outcome.state, outcome.fresh) for outcome in outcomes] == [("finished", True)] * 2
    again = jepakit.ablate("cartpole_pixels", over, overrides=SMALL, seeds=1, out=tmp_path, quiet=True)
    assert [(outcome.state, outcome.fresh) for outcome in again] == [("finished", False)] * 2

    found = jepakit.compare(tmp_path, thresholds=[5])
    assert [row.seeds for row in found.rows] == [(0,), (0,)]
    assert len(found.pairs) == 1
    assert "| configuration | runs |" in str(found)
    assert {path.name for path in found.write(tmp_path / "out")} == {"compare.md", "compare.json", "curves.png", "curves.svg"}
