"""Two ways to call the command line: a process of its own, as a user does, and this process, which has torch imported already."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from jepakit.cli.app import main


class Outcome(NamedTuple):
    """What a user gets back."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Call ``jepakit`` as a process, piped, from a folder that is not the project's."""

    def call(*args: str) -> Outcome:
        done = subprocess.run([sys.executable, "-m", "jepakit", *args], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call ``jepakit`` in this process, from a folder that is not the project's."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["jepakit", *args])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, *capsys.readouterr())

    return call
