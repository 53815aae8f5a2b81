"""jepakit as a contestant: `jepakit run`, timed by the records that it writes, diagnostics, logging and checkpoints included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.settings import Settings
from benchmarks.timed_run import timed_run

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

    def is_enough(learned: list[dict[str, Any]]) -> bool:
        return len(learned) > settings.batches + 1 and learned[-1]["wall_s"] - learned[0]["wall_s"] >= settings.seconds

    return _figures(timed_run([recipe, *words], is_enough, environment, PATIENCE).learned)


def _figures(learned: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = learned[-1]["wall_s"] - learned[0]["wall_s"]
    shares = {part: sum(record[f"time/{part}"] for record in learned[1:]) / seconds for part in PARTS}
    shares["other"] = 1 - sum(shares.values())
    return {
        "steps_per_second": round((learned[-1]["env_steps"] - learned[0]["env_steps"]) / seconds, 1),
        "batches": len(learned) - 1,
        "shares": {part: round(share, 3) for part, share in shares.items()},
    }
