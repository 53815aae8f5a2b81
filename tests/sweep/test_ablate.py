"""Sweeps and comparisons from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jepakit
from jepakit.components.engines import processes
from tests.forked import ForkedRun

SMALL = {"total_steps": 64, "env.num_envs": 2, "algorithm.rollout_steps": 16, "algorithm.minibatch_size": 16}


def test_a_sweep_is_run_once_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(processes, "start_process", ForkedRun)
    one, other = {"encoder": {"dim": 16, "heads": 2}}, {"encoder": {"kind": "nature_cnn", "dim": 16}}

    def states(eval_every: int | None = None, **cases: dict[str, Any]) -> list[tuple[str, bool]]:
        overrides = SMALL | {"sweep.cases": cases, "eval_every": eval_every}
        outcomes = jepakit.ablate("cartpole_pixels", {"algorithm.hidden": [[8]]}, overrides=overrides, seeds=1, out=tmp_path)
        return [(outcome.state, outcome.fresh) for outcome in outcomes]

    assert states(vit=one, cnn=other) == [("finished", True)] * 2
    assert states(vit=one, cnn=other) == [("finished", False)] * 2
    assert "notice: " not in capsys.readouterr().err
    assert states(eval_every=32, vit=one, cnn=other) == [("finished", False)] * 2
    assert "notice: 2 of 2 runs began with another `eval_every`, null: they stay as they are, or go on so" in capsys.readouterr().err
    assert states(cnn=one, new=other) == [("finished", False)] * 2
    told = capsys.readouterr().err
    assert "notice: runs of `cnn, algorithm.hidden=[8]` were trained as `vit, algorithm.hidden=[8]`: `compare`, " in told

    found = jepakit.compare(tmp_path, thresholds=[5])
    assert [row.seeds for row in found.rows] == [(0,), (0,)]
    assert len(found.pairs) == 1
    assert "| configuration | runs |" in str(found)
    assert {path.name for path in found.write(tmp_path / "out")} == {"compare.md", "compare.json", "curves.png", "curves.svg"}
