"""Times collectors: env steps a second, CPU time, what a batch waits for its collector, and how long it takes to start.

    python -m benchmarks.collectors --json docs/results/collectors.json --recipe cartpole_pixels
    python -m benchmarks.collectors --json docs/results/collectors.json --recipe minigrid/empty

Each collector trains the recipe for some batches, with the numbers of threads that a run would have; the first is not timed. Results
are added to the file, so that each collector can be timed on its own: ``--collector multi_sync:2``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from jepakit.diagnostics.embedding import only_looking
from jepakit.machine.hardware import settle, usable_cores
from jepakit.recipe import load_recipe
from jepakit.training.build import build_env, build_learner
from jepakit.training.collecting.acting import RunActing
from jepakit.training.collecting.build import build_collector

COLLECTORS = ("direct", "multi_sync:1", "multi_sync:2", "multi_async:1", "multi_async:2", "ray:2")
UNTIMED = 1  #: batches


def timed(name: str, overrides: list[str], collector: str, batches: int) -> dict[str, Any]:
    """Train the recipe ``name`` for some batches."""
    kind, _, workers = collector.partition(":")
    fields = f"kind: {kind}" + (f", workers: {workers}" if workers else "") + (", allow_lag: true" if kind == "multi_async" else "")
    recipe, hardware = settle(load_recipe(name, [*overrides, f"collector={{{fields}}}"]))
    env_steps = 0
    with contextlib.closing(build_env(recipe)) as env:
        learner = build_learner(recipe, env, hardware)
        acting = RunActing(recipe, env, learner, lambda: env_steps)
        chosen = build_collector(recipe, env, learner.algorithm)
        begun, cpu = perf_counter(), 0.0
        try:
            with only_looking(learner.parts):
                chosen.begin(acting)
            start = perf_counter() - begun
            waits, lags = [], []
            for n in range(UNTIMED + batches):
                if n == UNTIMED:
                    begun, cpu = perf_counter(), cpu_seconds()
                asked = perf_counter()
                batch, _ = chosen.collect()
                waits.append(perf_counter() - asked)
                lags.append(acting.lag(batch).get("collector/lag_updates", 0.0))
                learner.learn(batch, progress=n / 1000)
                env_steps += batch.numel()
            seconds, cpu = (perf_counter() - begun) / batches, (cpu_seconds() - cpu) / batches
        finally:
            chosen.close()
    return {
        "env_steps_a_batch": batch.numel(),
        "steps_per_second": round(batch.numel() / seconds, 1),
        "wait_ms_an_env_step": round(1000 * sum(waits[UNTIMED:]) / batches / batch.numel(), 3),
        "cpu_ms_an_env_step": round(1000 * cpu / batch.numel(), 3),
        "lag_updates": lags[-1],
        "start_s": round(start, 1),
        "batches": batches,
        "load_average": round(os.getloadavg()[0], 1),
    }


def cpu_seconds() -> float:
    """CPU time so far of this process and of all that descend from it, on Linux; unlike wall-clock time, little changed by other work."""
    stats = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            stats[int(file.parent.name)] = file.read_text().rpartition(") ")[2].split()
    family, more = set[int](), {os.getpid()}
    while more:
        family |= more
        more = {process for process, stat in stats.items() if int(stat[1]) in family} - family
    return sum(int(stats[process][ticks]) for process in family for ticks in (11, 12)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Time each collector, and add the results to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cartpole_pixels")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--collector", action="append", help=f"kind:workers; default: {', '.join(COLLECTORS)}")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    cpu = str(torch.cpu.get_capabilities().get("cpu_name"))
    found["machine"] = {"cores": usable_cores(), "cpu": cpu, "python": platform.python_version()}
    results = found.setdefault(" ".join([given.recipe, *given.overrides]), {})
    for collector in given.collector or COLLECTORS:
        results[collector] = timed(given.recipe, given.overrides, collector, given.batches)
        sys.stdout.write(f"{collector:15}{json.dumps(results[collector])}\n")
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
