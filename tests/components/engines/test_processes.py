"""Each run is a child process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepakit.components.engines.processes import start_process

PARENT = """
import sys, time
from pathlib import Path
from jepakit.components.engines.processes import start_process
recipe, out, log = sys.argv[1:]
start_process(["run", recipe, "--out", out, "--quiet"], Path(log))
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")
def test_a_run_saves_and_ends_when_its_parent_is_killed(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text().replace("total_steps: 64", "total_steps: 100_000_000"))
    run = tmp_path / "run"

    def wait_for(name: str) -> str:
        until = time.monotonic() + 60
        while not (run / name).exists():
            assert time.monotonic() < until, f"no {name}: {(tmp_path / 'log').read_text()}"
            time.sleep(0.05)
        return (run / name).read_text()

    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(recipe), str(run), str(tmp_path / "log")])
    wait_for("metrics.jsonl")
    pid = json.loads(wait_for("provenance.json"))["pid"]
    parent.kill()
    parent.wait()
    try:
        assert json.loads(wait_for("summary.json"))["status"] == "interrupted"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_run_imports_from_its_parents_path_and_not_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "statistics.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log"
    for here, code in (([], 2), ([str(tmp_path)], 1)):  # as with `jepakit`, then as with `python -m jepakit`
        monkeypatch.setattr(sys, "path", [*here, *(path for path in sys.path if path not in ("", str(tmp_path)))])
        start_process(["run", str(tmp_path / "none.yaml")], log).wait(60)
        assert ("a stranger" in log.read_text()) == bool(here)
        assert ("there is no recipe" in log.read_text()) == (code == 2), log.read_text()


def test_a_run_hears_ctrl_c_although_its_parent_blocks_it(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as Ray's workers do
    try:
        process = start_process(["schema"], tmp_path / "log")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
