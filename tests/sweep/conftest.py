"""Sweeps whose runs are stand-ins: small processes that write a run's files and end as the test asks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from jepakit.components.engines import processes
from jepakit.recipe import dump
from jepakit.report.runs import CURVES
from jepakit.sweep import scheduler
from jepakit.sweep.plan import Plan, Planned, load_sweep
from tests.small import small_recipe

RECIPE = small_recipe("swept")

#: Its arguments: a recipe, a folder, how to end, and a file to which it reports its start and end.
STAND_IN = """
import json, os, shutil, signal, sys, time
recipe, out, ending, diary = sys.argv[1:]
def tell(what):
    with open(diary, "a") as file:
        file.write(f"{what} {os.path.basename(out)}\\n")
def leave(name, **content):
    with open(os.path.join(out, name), "a") as file:
        file.write(json.dumps(content) + "\\n")
def end(status, code, **more):
    leave("summary.json", status=status, env_steps=64, return_last_100=20.0, embedding_variance=0.5, collapsed=False, **more)
    tell("end")
    sys.exit(code)
def interrupt(*_):
    time.sleep(0.5 if ending == "slow" else 0)
    end("interrupted", 130)
signal.signal(signal.SIGINT, signal.SIG_IGN if ending == "stubborn" else interrupt)
tell("start" if not os.path.exists(out) else "resume")
if ending == "refuse":
    print("your mistake\\n    write something else")
    sys.exit(2)
os.makedirs(out, exist_ok=True)
if recipe != os.path.join(out, "recipe.yaml"):
    shutil.copyfile(recipe, os.path.join(out, "recipe.yaml"))
leave("events.jsonl", event="start", pid=os.getpid())
leave("metrics.jsonl", phase="train", env_steps=32, return_last_100=10.0, wall_s=1.0, **{"embedding/variance": 0.25})
time.sleep(0.3)
if ending == "late":  # as if another process had taken the folder
    leave("lock", pid=1, host="elsewhere.example")
    sys.exit(2)
if ending == "fail":
    open(os.path.join(out, "traceback.txt"), "w").write("Traceback:\\n  somewhere\\nValueError: far too wide\\nby far\\n")
    leave("events.jsonl", event="failed", error="ValueError: far too wide\\nby far")
    end("failed", 1)
if ending == "edited":
    leave("provenance.json", id="another", sources=["another"])
    end("finished", 0, id="another")
if ending == "die":
    os.kill(os.getpid(), signal.SIGKILL)
while ending in ("wait", "slow", "stubborn"):
    time.sleep(0.02)
end("finished", 0)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The file of a recipe for a small run."""
    file = tmp_path / "swept.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def make_plan(recipe: Path) -> Callable[..., Plan]:
    """Makes a sweep of that recipe."""

    def make(over: str = "encoder.dim=16", seeds: int = 1, threads: int | None = None) -> Plan:
        return load_sweep(recipe, over=[over], seeds=seeds, threads=threads)

    return make


@pytest.fixture
def endings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """How the stand-ins end, by label of their configuration. Those without an entry finish."""
    by_label: dict[str, str] = {}
    (tmp_path / "stand_in.py").write_text(STAND_IN)

    def start(words: Sequence[str], log: Path, *_: object) -> subprocess.Popen[bytes]:
        recipe, out = (Path(words[1]), Path(words[3])) if words[0] == "run" else (Path(words[1], "recipe.yaml"), Path(words[1]))
        text = recipe.read_text()
        ending = next((ending for part, ending in by_label.items() if part.replace("=", ": ") in text), "finish")
        with log.open("wb") as printed:
            command = [sys.executable, "-S", str(tmp_path / "stand_in.py"), str(recipe), str(out), ending, str(tmp_path / "diary")]
            return subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)

    monkeypatch.setattr(processes, "start_process", start)
    monkeypatch.setattr(scheduler, "rehearse_runs", lambda runs: len(list(runs)))
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.02)
    return by_label


@pytest.fixture
def write_record(tmp_path: Path) -> Callable[..., Path]:
    """Writes a record of a planned run to the folder ``records``. Keyword arguments replace values of its recipe."""

    def write(run: Planned, **recipe: Any) -> Path:
        figures = {"return_last_100": 9.0, "return_auc": 8.0, "embedding_variance": 0.5, "embedding_rank": 3.5}
        content = {
            "id": run.id,
            "name": "swept",
            "seed": run.seed,
            "recipe": yaml.safe_load(dump(run.recipe)) | recipe,
            "summary": {"status": "finished", "env_steps": 64, "collapsed": False} | figures,
            "curves": {name: [1.0] for name in CURVES},
            "evaluation": None,
            "provenance": {},
        }
        path = tmp_path / "records" / f"{run.id}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def diary(tmp_path: Path) -> Callable[[], list[str]]:
    """Reads which runs have started and ended, in order."""

    def read() -> list[str]:
        file = tmp_path / "diary"
        return file.read_text().splitlines() if file.exists() else []

    return read
