"""The engine ``local`` gives each job its own handle, whatever has become of the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from jepakit.components.engines import processes
from jepakit.components.engines.local import Local
from jepakit.protocols import Job


def test_each_job_has_its_own_handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}

    def start(words: tuple[str, ...], log: Path, more: Any) -> Any:
        if words[0] == "cannot":
            raise OSError("no such program")
        started[words[0]] = Process()
        return started[words[0]]

    class Process:
        code: int | None = None

        def poll(self) -> int | None:
            return self.code

    monkeypatch.setattr(processes, "start_process", start)
    engine = Local()

    def handles(*names: str) -> list[Any]:
        jobs = [Job(name, (name,), (name,), tmp_path, tmp_path, tmp_path / "log", cpus=1, gpus=0) for name in names]
        return [going.process for going in engine.start(jobs)]

    assert handles("older") == [started["older"]]
    assert handles("cannot", "a") == [None, started["a"]]
    started["a"].code = 0
    assert handles("b", "c") == [started["b"], started["c"]]
    assert [going.process for going in engine.going] == [started[name] for name in ("older", "b", "c")]


def test_a_job_that_cannot_be_started_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    (going,) = Local().start([Job("a", ("--version",), (), tmp_path, tmp_path, tmp_path / "log", cpus=1, gpus=0)])
    ended = going.poll()
    assert ended
    assert "No such file" in ended.why
