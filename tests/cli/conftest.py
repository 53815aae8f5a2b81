"""Two ways to call the command line: as its own process, and in this process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from jepakit.cli.app import main
from jepakit.registry.plugins import load_plugins
from tests.forked import Outcome, jepakit_process

SUMMARY = "One [red]linear[/red] layer, " + "and nothing else, " * 8 + "up to `dim` numbers wide."
PLUGIN = f'''
from torch import nn
from jepakit import register

@register("encoder", "tiny")
class Tiny(nn.Module):
    """{SUMMARY}

    Source: Nobody 2026, Eq. 7.

    Args:
        dim: Width of s_x.
    """

    def __init__(self, frames, *, dim: int = 8) -> None:
        super().__init__()
'''


Cli = Callable[..., Outcome]


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Call ``jepakit`` as its own process with piped output, from a folder outside the project."""

    return partial(jepakit_process, cwd=tmp_path)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Call ``jepakit`` in this process, from a folder outside the project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # main() replaces it; monkeypatch restores it

    def call(*args: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["jepakit", *args])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, *capsys.readouterr())

    yield call
    load_plugins([])  # unregisters the test's plug-ins


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plug-in that registers an encoder. The encoder's summary is too long for one terminal line."""
    file = tmp_path / "tiny.py"
    file.write_text(PLUGIN)
    return file
