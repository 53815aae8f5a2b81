"""jepakit as a contestant: `jepakit run`, timed by the records that it writes, diagnostics, logging and checkpoints included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings

PARTS = ("env", "policy", "learner")
PATIENCE = 300.0  #: seconds until a run without enough records counts as stuck


def fields(settings: Settings, recipe: str) -> list[str]:
    """A contest's work as fields of a recipe."""
    work = {
        "env.num_envs": settings.envs,
        "env.size": [settings.height, settings.width],
        "algorithm.rollout_steps": settings.steps,
        "algorithm.minibatch_size": settings.minibatch,
        "threads": settings.threads,
    }
    if "dqn" in recipe:
        work |= {"algorithm.updates_per_step": settings.updates / settings.batch, "algorithm.learning_starts": settings.learning_starts}
    else:
        work |= {"algorithm.epochs": settings.epochs}
    return [f"{name}={json.dumps(value)}" for name, value in work.items()]


def measure(settings: Settings, recipe: str, overrides: Sequence[str] = (), environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Train a recipe with a contest's work until enough batches that learned are timed, then end the run."""
    words = [word for field in (*fields(settings, recipe), *overrides) for word in ("--set", field)]
    return time_run([recipe, *words], settings.seconds, settings.batches, environment)


def time_run(words: Sequence[str], seconds: float, batches: int = 2, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Env steps a second of `jepakit run WORDS` without its first batch, and the parts' shares of the time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "jepakit", "run", *words, "--quiet", "--out", f"{folder}/run"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | (environment or {}))
        try:
            return _figures(_timed(Path(folder, "run", "metrics.jsonl"), process, seconds, batches))
        finally:
            process.kill()
            process.wait()


def _timed(metrics: Path, process: subprocess.Popen[bytes], seconds: float, batches: int) -> list[dict[str, Any]]:
    """The records of the batches that learned, once they are enough; the first is not timed."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        time.sleep(0.5)
        over = process.poll() is not None  # before the records are read, so that none is missed
        whole = metrics.read_text().rpartition("\n")[0] if metrics.exists() else ""
        learned = [record for record in map(json.loads, whole.splitlines()) if record["phase"] == "train" and record["updates"]]
        if len(learned) > batches + 1 and learned[-1]["wall_s"] - learned[0]["wall_s"] >= seconds:
            return learned
        if over:
            break
    raise SystemExit(f"the run ended before enough of it was timed: {' '.join(map(str, process.args))}")  # type: ignore[arg-type]


def _figures(learned: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = learned[-1]["wall_s"] - learned[0]["wall_s"]
    shares = {part: sum(record[f"time/{part}"] for record in learned[1:]) / seconds for part in PARTS}
    shares["other"] = 1 - sum(shares.values())
    return {
        "steps_per_second": round((learned[-1]["env_steps"] - learned[0]["env_steps"]) / seconds, 1),
        "batches": len(learned) - 1,
        "shares": {part: round(share, 3) for part, share in shares.items()},
    }
