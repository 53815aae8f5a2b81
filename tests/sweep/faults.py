"""A sweep of short runs in a process of its own, whose parts are killed, and what must be true then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SWEEP = """\
extends: cartpole_pixels
name: faults
total_steps: 1500
env: {num_envs: 4}
encoder: {dim: 16, depth: 1, heads: 2}
algorithm: {rollout_steps: 64, minibatch_size: 64, epochs: 1, hidden: [16]}
device: cpu
precision: fp32
checkpoint_every: 256
sweep:
  grid: {optimizer.lr: [1e-3, 3e-4]}
  seeds: 4
"""


def drive(recipe: Path, out: Path, engine: str, log: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start ``jepakit ablate``."""
    command = [sys.executable, "-m", "jepakit", "ablate", str(recipe), "--out", str(out), "--engine", engine, *more]
    with log.open("ab") as printed:
        return subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, cwd=recipe.parent, start_new_session=True)


def wait(condition: Callable[[], Any], seconds: float, what: str, log: Path) -> Any:
    """Wait until a condition holds, and return its value."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"{what}: not in {seconds:.0f} s; the driver said:\n{log.read_text()}"
        time.sleep(0.1)
    return value


def states(out: Path) -> list[str]:
    """The status of each run that has ended."""
    return [json.loads(file.read_text())["status"] for file in out.glob("*/*/summary.json")]


def process_of(run: Path) -> int:
    """The newest process of a run."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return int([event["pid"] for event in events if "pid" in event][-1])


def parent(pid: int) -> int:
    """The parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_training(out: Path, at_least: int = 1) -> Callable[[], Path | None]:
    """Finds a run that has a checkpoint and has not ended."""

    def find() -> Path | None:
        for run in sorted(out.glob("*/*/lock")):
            if len(list(run.parent.glob("checkpoints/0*"))) >= at_least and not (run.parent / "summary.json").exists():
                return run.parent
        return None

    return find


def records(run: Path) -> list[dict[str, Any]]:
    """The records of a run without what depends on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "wall_s" and not name.startswith("time/")} for line in lines]


def assert_each_ran_once(out: Path, ids: Iterable[str]) -> int:
    """Every run has started once and finished once, and nothing else is there; returns how often runs were resumed."""
    resumed = 0
    runs = sorted(path.parent for path in out.glob("*/*/events.jsonl"))
    assert sorted(run.name for run in runs) == sorted(ids)
    for run in runs:
        events = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
        assert [events.count("start"), events.count("finished")] == [1, 1], (run, events)
        resumed += events.count("resume")
        steps = [record["env_steps"] for record in records(run) if record["phase"] == "train"]
        assert steps == sorted(set(steps)), f"{run} has trained a batch twice"
    return resumed


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, 9)
