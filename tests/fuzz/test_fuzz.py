"""A sample of the bad inputs. ``benchmarks/fuzz.py`` tries many thousands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import jepakit_process

ROOT = Path(__file__).parents[2]


def test_bad_inputs_end_in_a_message_that_names_a_place(tmp_path: Path) -> None:
    # A separate process: its children are forks, and the effects of plug-ins stay there.
    totals = tmp_path / "totals.json"
    command = [sys.executable, "-m", "tests.fuzz.campaign", "--count", "60", "--jobs", "1", "--without", "validate", "--seed", "7"]
    done = subprocess.run([*command, "--json", str(totals)], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(totals.read_text())["bad"] >= 60


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([b"validate", b"\xff\xfe.yaml"], "there is no recipe `\\udcff\\udcfe.yaml`"),
        (
            [b"show", b"cartpole_pixels", b"--set", b"seed=\xff", b"--set", b"\xff=1"],
            "--set #1: a character that YAML does not allow",
        ),
    ],
)
def test_undecodable_arguments_are_refused_with_a_clear_message(tmp_path: Path, args: list[bytes], named: str) -> None:
    done = jepakit_process(*map(os.fsdecode, args), cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert named in done.err
