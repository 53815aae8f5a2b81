"""Measures a recipe: seconds by part of a batch, operators of an update, and the update's share of the machine's peak rate."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity

from jepakit.machine.hardware import Hardware, settle
from jepakit.profiling.flops import FlopCounter, peak_flops, synchronised
from jepakit.recipe import Recipe
from jepakit.storage.folder import RunFolder
from jepakit.training.build import build_env, build_learner
from jepakit.training.experience.sources import build_source
from jepakit.training.learner import Learner
from jepakit.training.loop import Loop
from jepakit.training.progress import progress_for
from jepakit.training.rehearsal import rehearse
from jepakit.training.state import RunState

PARTS = ("env", "policy", "learner")  #: of a batch, as ``metrics.jsonl`` has them under ``time/``
TIMED_UPDATES = 5
SHOWN_OPERATORS = 8


class Operator(NamedTuple):
    """One of torch's operators in the updates of a batch."""

    name: str
    share: float  #: of the updates' time, without the operators that it calls
    calls: float  #: an update


@dataclass(frozen=True)
class Profile:
    """What a recipe costs on this machine."""

    hardware: Hardware
    num_envs: int
    batches: int  #: timed, after the first that learned
    env_steps_per_batch: int
    updates_per_batch: float
    batch_seconds: float  #: wall-clock, mean
    seconds: dict[str, float]  #: of a batch, by part: env, policy, learner, other
    checkpoint_seconds: float  #: one checkpoint
    update_seconds: float  #: one update, with its minibatch
    update_flops: int  #: of the matrix products and convolutions of one update, forwards and backwards
    peak_flops: float  #: FLOP/s of this machine's best matrix product, in the run's precision and with its threads
    operators: tuple[Operator, ...]  #: those with the largest shares

    @property
    def steps_per_second(self) -> float:
        """Env steps a second, without checkpoints."""
        return self.env_steps_per_batch / self.batch_seconds

    @property
    def peak_share(self) -> float:
        """FLOP/s of an update over the peak's."""
        return self.update_flops / self.update_seconds / self.peak_flops

    def figures(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {**asdict(self), "hardware": self.hardware._asdict(), "operators": [each._asdict() for each in self.operators]} | {
            "steps_per_second": self.steps_per_second,
            "peak_share": self.peak_share,
        }

    def share(self, part: str) -> float:
        """Share of a part in a batch's wall-clock time."""
        return self.seconds[part] / self.batch_seconds


def profile(recipe: Recipe, seconds: float = 10.0) -> Profile:
    """Train ``recipe`` for about ``seconds`` in a temporary folder, as ``jepakit run`` would, and measure it.

    An off-policy algorithm starts to learn after its first batch here, whatever its ``learning_starts``.

    Raises:
        UserError: The recipe or the requested hardware can't be used, or training ends before its first update.
    """
    recipe, hardware = settle(recipe)
    recipe = recipe.with_values({"sinks": (), "eval_every": None, "probe_every": None})  # none is part of a batch
    with contextlib.closing(build_env(recipe)) as env, tempfile.TemporaryDirectory(prefix="jepakit-") as scratch:
        rehearse(recipe, env, hardware)
        batch = env.batch_size[0] * getattr(recipe.algorithm, "rollout_steps", 1)
        if hasattr(recipe.algorithm, "learning_starts"):
            recipe = recipe.with_values({"algorithm.learning_starts": batch})
        env.set_seed(recipe.seed)
        learner = build_learner(recipe, env, hardware, Path(scratch) / "replay", source=build_source(recipe, env))
        with (
            contextlib.closing(RunFolder.create(Path(scratch) / "run")) as folder,
            progress_for("profile", recipe.total_steps, quiet=True) as progress,
        ):
            loop = Loop(RunState(recipe, env, learner, folder), progress, _after(seconds, learner))
            loop.run()
            if not learner.updates:
                raise recipe.error("total_steps", f"training ends at {recipe.total_steps:,} env steps, before the first update", "raise it")
            shutil.rmtree(folder.checkpoints)  # that of the end, so that the next is written
            checkpoint_seconds = _timed(loop.checkpoint)
            records = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]
        return Profile(
            hardware=hardware,
            num_envs=env.batch_size[0],
            env_steps_per_batch=batch,
            **_batches([record for record in records if record["phase"] == "train"]),
            checkpoint_seconds=checkpoint_seconds,
            **_updates(learner, hardware),
            peak_flops=peak_flops(hardware),
        )


def _after(seconds: float, learner: Learner) -> Callable[[], bool]:
    """A stop after two batches that learned, and ``seconds`` more than the first of them."""
    begun: list[float] = []

    def stop() -> bool:
        if learner.updates:
            begun.append(perf_counter())
        return len(begun) > 1 and begun[-1] - begun[0] >= seconds

    return stop


def _batches(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the train ``records`` after the first that learned, which makes what the others use."""
    learned = [record for record in records if record["updates"]]
    timed = learned[1:] or learned
    before = learned[0]["updates"] if learned[1:] else 0
    mean = {part: sum(record[f"time/{part}"] for record in timed) / len(timed) for part in (*PARTS, "batch")}
    return {
        "batches": len(timed),
        "updates_per_batch": (timed[-1]["updates"] - before) / len(timed),
        "batch_seconds": mean["batch"],
        "seconds": {part: mean[part] for part in PARTS} | {"other": mean["batch"] - sum(mean[part] for part in PARTS)},
    }


def _updates(learner: Learner, hardware: Hardware) -> dict[str, Any]:
    """Time, operations and operators of single updates."""

    def update() -> None:
        learner.update(learner.experience.sample())

    with FlopCounter() as counter:
        update()
    seconds = min(_timed(synchronised(update, hardware)) for _ in range(TIMED_UPDATES))
    cuda = hardware.device.startswith("cuda")
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiler:
        for _ in range(TIMED_UPDATES):
            synchronised(update, hardware)()
    own = {event: event.self_device_time_total if cuda else event.self_cpu_time_total for event in profiler.key_averages()}
    whole = sum(own.values())
    largest = sorted(own, key=lambda event: own[event], reverse=True)[:SHOWN_OPERATORS]
    operators = tuple(Operator(event.key, own[event] / whole, event.count / TIMED_UPDATES) for event in largest)
    return {"update_seconds": seconds, "update_flops": counter.flops, "operators": operators}


def _timed(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
