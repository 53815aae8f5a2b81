"""A plan for 1,000 GPUs and a billion frames: what this machine measures, what is assumed, and a simulation of both.

    python -m benchmarks.scale                 # measures for two minutes, then writes docs/results/scale.json and docs/scale.md
    python -m benchmarks.scale --write-only    # keeps what was measured: simulates and writes the page

The simulation runs on SimPy. It is first checked against two workers on this machine: two runs at once, and one run whose simulators are in
two processes. Both are predicted from one run on one core, and then measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.scale.model import Measured, on_cores, simulate
from benchmarks.scale.page import page
from benchmarks.timed_run import TimedRun, timed_run

RECIPE = "cartpole_pixels"
SETTINGS = ("threads=1", "total_steps=10_000_000", "diagnostics=[]", "checkpoint_every=10_000_000")
SECONDS = 12.0  #: of batches that are timed, the first left out
PARTS = ("env", "policy", "learner")
DOCS = Path(__file__).resolve().parents[2] / "docs"


def measure_run(overrides: Sequence[str] = ()) -> TimedRun:
    """The main recipe on one core for some seconds."""
    words = [word for override in (*SETTINGS, *overrides) for word in ("--set", override)]
    return timed_run((RECIPE, *words), lambda learned: sum(record["time/batch"] for record in learned[1:]) >= SECONDS)


def rate(run: TimedRun) -> float:
    """Env steps a second."""
    learned = run.learned
    return float((learned[-1]["env_steps"] - learned[0]["env_steps"]) / sum(record["time/batch"] for record in learned[1:]))


def constants(run: TimedRun) -> Measured:
    """What the simulation needs of one run, and of a short one's folder."""
    from jepakit.recipe import load_recipe

    recipe = load_recipe(RECIPE).model_dump(mode="json")
    learned = run.learned[1:]
    batch = recipe["env"]["num_envs"] * recipe["algorithm"]["rollout_steps"]
    taken = {part: np.array([record[f"time/{part}"] for record in learned]) / batch for part in PARTS}
    taken["other"] = np.array([record["time/batch"] for record in learned]) / batch - sum(taken[part] for part in PARTS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "run")
        words = ("run", RECIPE, "--set", "threads=1", "--set", f"total_steps={2 * batch}", "--quiet", "--out", str(folder))
        subprocess.run([sys.executable, "-W", "ignore", "-m", "jepakit", *words], check=True, stdout=subprocess.DEVNULL)
        files = list(max((folder / "checkpoints").iterdir()).iterdir())
        optimizer = next(file.stat().st_size for file in files if file.stem == "optimizer")
        return Measured(
            seconds={part: float(each.mean()) for part, each in taken.items()},
            variation={part: float(each.std() / each.mean()) for part, each in taken.items()},
            envs=recipe["env"]["num_envs"],
            steps=recipe["algorithm"]["rollout_steps"],
            epochs=recipe["algorithm"]["epochs"],
            minibatch=recipe["algorithm"]["minibatch_size"],
            frame_bytes=int(np.prod(recipe["env"]["size"])),
            trained_bytes=optimizer // 2,  # Adam keeps two numbers for each
            checkpoint_bytes=sum(file.stat().st_size for file in files),
            checkpoint_files=len(files),
            record_bytes=(folder / "metrics.jsonl").stat().st_size / (2 * batch),
        )


def check(one: TimedRun, measured: Measured) -> dict[str, dict[str, float]]:
    """Two workers: predicted from one, and measured."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(2) as pool:
        two = [rate(run) for run in pool.map(measure_run, [(), ()])]
    split = rate(measure_run(("processes=2",)))
    again = rate(measure_run())
    found = {
        "one run, again": (rate(one), again),
        "two runs at once": (on_cores(measured, 2, 1, cores), sum(two)),
        "one run, simulators in two processes": (on_cores(measured, 1, 2, cores), split),
    }
    return {name: compared(said, was) for name, (said, was) in found.items()}


def recorded(throughput: Path) -> tuple[dict[str, float], float]:
    """Seconds of an env step by part, of one run on idle cores, and the env steps a second of two such runs at once."""
    settings = {"threads": 1, "precision": "fp32", "spin": "2000"}
    rows = [row for row in json.loads(throughput.read_text()) if settings.items() <= row.items()]
    one, two = (next(row for row in rows if row["runs at once"] == runs) for runs in (1, 2))
    seconds = {part: 1 / one[f"{part} steps/s"] for part in PARTS}
    seconds["other"] = 1 / one["batch steps/s"] - sum(seconds.values())
    return seconds, 2 * two["batch steps/s"]


def compared(predicted: float, measured: float) -> dict[str, float]:
    """A row of the check."""
    return {"predicted": predicted, "measured": measured, "error": predicted / measured - 1}


def main() -> None:
    """Measure, simulate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-only", action="store_true", help="measure nothing")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of scale.md and results/")
    options = parser.parse_args()
    kept = options.docs / "results" / "scale.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if options.write_only:
        found = json.loads(kept.read_text())
        measured = Measured(**found["measured"])
    else:
        one = measure_run()
        measured = constants(one)
        machine = {name: one.provenance[name] for name in ("cpu", "cores", "git", "packages")}
        found = {"machine": machine, "measured": asdict(measured), "check": check(one, measured)}
    seconds, two = recorded(DOCS / "results" / "throughput.json")
    idle = replace(measured, seconds=seconds)
    found["check"]["two runs at once, recorded on idle cores"] = compared(on_cores(idle, 2, 1, 2), two)
    found |= {"idle_seconds": seconds, "simulated": simulate(idle)}
    kept.write_text(json.dumps(found, indent=1) + "\n")
    (options.docs / "scale.md").write_text(page(json.loads(kept.read_text())))


if __name__ == "__main__":
    main()
