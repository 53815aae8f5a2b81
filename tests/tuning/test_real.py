"""A study of real runs, from the command line: killed with -9 in the middle, it goes on, and its best trial runs again from best.yaml."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jepakit.cli.app import app

SPACE = """\
optimizer.lr: {low: 1e-4, high: 1e-2, log: true}
jepa.target: [{kind: ema, decay: {low: 0.9, high: 0.999}}, {kind: frozen}]
"""


@pytest.mark.slow
def test_a_study_is_killed_and_goes_on(recipe: Path, tmp_path: Path, real: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe.write_text(recipe.read_text().replace("total_steps: 64", "total_steps: 512"))
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["tune", "tuned.yaml", "--space", "space.yaml", "--trials", "4", "--jobs", "1", "--pruner", "none", "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "jepakit", *words], start_new_session=True)
    journal = tmp_path / "runs" / "tuned" / "tune" / "space" / "journal.jsonl"
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("runs/tuned/*/metrics.jsonl"))) < 2 and time.monotonic() < until:
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert journal.exists()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/tuned/*/summary.json")}

    outcome = CliRunner().invoke(app, words, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    content = json.loads((journal.parent / "tune.json").read_text())
    assert [trial["state"] for trial in content["trials"]] == ["finished"] * 4
    runs = [run for trial in content["trials"] for run in trial["runs"]]
    assert len(set(runs)) == 4
    for path, stamp in finished.items():
        if json.loads(path.read_text())["status"] == "finished":
            assert path.stat().st_mtime_ns == stamp, "a finished run is not run again"
    for trial in content["trials"]:
        summary = json.loads((tmp_path / "runs" / "tuned" / trial["runs"][0] / "summary.json").read_text())
        assert trial["value"] == summary["return_last_100"]
    best = content["trials"][content["best"]]
    again = CliRunner().invoke(app, ["run", str(journal.parent / "best.yaml"), "--quiet"], catch_exceptions=False)
    assert best["runs"][0] in again.output
    assert len(list(tmp_path.glob("runs/tuned/*/metrics.jsonl"))) == 4, "it is the run of the best trial"


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(recipe: Path, tmp_path: Path, real: None) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    recipe.write_text(recipe.read_text().replace("total_steps: 64", "total_steps: 100_000"))
    words = [sys.executable, "-m", "jepakit", "tune", "tuned.yaml", "--space", "space.yaml", "--jobs", "1"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "60"})
    until = time.monotonic() + 120
    while not any(path.stat().st_size for path in tmp_path.glob("runs/tuned/*/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to continue: jepakit tune tuned.yaml --space space.yaml --jobs 1" in printed
    (summary,) = tmp_path.glob("runs/tuned/*/summary.json")
    assert json.loads(summary.read_text())["status"] == "interrupted"
