"""Runs that are made up: an engine without processes writes the files of runs with a given return curve."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from jepakit.protocols import Ended, Job

EVERY = 4  #: env steps between two train records
Curve = Callable[[dict[str, Any], int], float | None]


def made_up(recipe: dict[str, Any], env_steps: int) -> float:
    """A return that depends on learning rate and seed; curves cross on the way."""
    lr, seed = recipe["optimizer"]["lr"], recipe["seed"]
    best = 100 - 30 * abs(math.log10(lr / 3e-3))
    return best * env_steps / 64 + 20 * math.sin(1e4 * lr + seed) * (1 - env_steps / 64) + seed


@dataclass
class FakeRun:
    """A run that goes on a number of records with every poll."""

    job: Job
    engine: FakeEngine
    stopped: bool = False
    queued: bool = False
    recipe: dict[str, Any] = field(default_factory=dict)

    def poll(self) -> Ended | None:
        """Write records; finish at the budget, or save once stopped."""
        self.engine.polls += 1
        if self.engine.polls == self.engine.dies_at:
            raise RuntimeError("killed")
        if not self.recipe:
            self.recipe = yaml.load((self.job.folder / "recipe.yaml").read_text(), yaml.CSafeLoader)
        recipe, metrics = self.recipe, self.job.folder / "metrics.jsonl"
        at = len(metrics.read_text().splitlines()) * EVERY
        for _ in range(self.engine.records):
            if self.stopped or at >= recipe["total_steps"]:
                break
            at += EVERY
            record = {"phase": "train", "env_steps": at, "return_last_100": self.engine.curve(recipe, at), "wall_s": 1.0}
            with metrics.open("a") as file:
                file.write(json.dumps(record) + "\n")
        if not self.stopped and at < recipe["total_steps"]:
            return None
        status = "finished" if at >= recipe["total_steps"] else "interrupted"
        figures = {"return_last_100": self.engine.curve(recipe, at), "return_auc": 1.0, "embedding_variance": 0.5}
        content = {"status": status, "env_steps": at, "collapsed": False, **figures}
        (self.job.folder / "summary.json").write_text(json.dumps(content))
        return Ended(0 if status == "finished" else 130)

    def stop(self) -> None:
        """Save at the next poll."""
        self.stopped = True

    def kill(self) -> None:
        """It is gone."""


@dataclass
class FakeEngine:
    """An engine whose runs are made up.

    Args:
        curve: The return of a recipe at some env steps.
        records: How many records a run writes between two polls: how fast the machine is.
        dies_at: At this poll the process dies.
    """

    curve: Curve = made_up
    records: int = 1
    dies_at: int = 0
    polls: int = 0
    carries: bool = False
    started: list[str] = field(default_factory=list)  #: run ids, each as often as it was started
    resumed: list[str] = field(default_factory=list)
    remote: bool = False
    retries: int = 0
    made_of: type[FakeRun] = FakeRun

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Nothing to connect to."""

    def at_a_time(self, jobs: Sequence[Job]) -> None:
        """As many as this machine suits."""

    def start(self, jobs: Sequence[Job]) -> list[FakeRun]:
        """Make the folders."""
        for job in jobs:
            (self.resumed if job.words[0] == "resume" else self.started).append(job.name)
            if job.words[0] == "run":
                job.folder.mkdir(parents=True)
                (job.folder / "events.jsonl").write_text('{"event": "start"}\n')
                (job.folder / "metrics.jsonl").touch()
                shutil.copyfile(job.words[1], job.folder / "recipe.yaml")
        return [self.made_of(job, self) for job in jobs]

    def find(self, job: Job) -> None:
        """There is none of an earlier process."""

    def end(self) -> None:
        """Nothing is left."""
