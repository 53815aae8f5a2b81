"""What a run's displays show."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from jepakit.training.progress import Clock, Live

RECORD = dict.fromkeys(("embedding/variance", "embedding/rank", "return_last_100"), 1.0)
RECORD |= {"env_steps": 400, "time/batch": 8.0, "time/env": 1.0, "time/policy": 2.0, "time/learner": 4.0}


def test_a_batchs_time_gives_a_speed_and_the_share_of_each_part() -> None:
    figures = Clock(800).tick(RECORD)
    assert figures["steps/s"] == "50"
    assert [figures[f"{part} time"] for part in ("env", "policy", "learner")] == ["12%", "25%", "50%"]


def test_a_warnings_colour_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    live = Live("title", 800)
    live.console = Console(file=io.StringIO(), force_terminal=True, width=80, markup=False)
    live.live.console = live.console
    with live:
        live.batch(RECORD)
        live.warn("the embedding has collapsed")
        written = live.console.file.getvalue()  # type: ignore[attr-defined]
    _, _, after = written.rpartition("collapsed")
    assert "\x1b[1;33mwarning: the embedding has " in written
    assert not re.search(r"\x1b\[[0-9;]*33m", after)
