"""What planning in the latent space adds to a trained policy, by the planning horizon.

    for seed in 100 101 102 103 104; do jepakit run cartpole_plan --set threads=1 --seed $seed --out runs/planning/cartpole-$seed; done
    python benchmarks/planning.py runs/planning --json docs/results/planning/planning.json

Every finished run in the folder plays the same held-out episodes greedily, sampling, and by planning with each of the variants below. A
table for each task: the interquartile mean over the seeds, its 95% bootstrap interval, and how much more return than the greedy policy has,
seed by seed. Runs that the file holds already are not played again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jepakit.agent.evaluate import MODES, PLANNED, evaluate
from jepakit.agent.imagination.imagine import imagine
from jepakit.files.writing import write_atomically
from jepakit.report.statistics import estimate
from jepakit.storage.stored import stored_recipe

SEED = 7  #: of the episodes
AHEAD = 15
HORIZONS = (1, 3, 5, 10, 15)
#: Named planners; those with a number are the ablated horizon.
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"cem, H = {horizon}": {"kind": "cem", "horizon": horizon} for horizon in HORIZONS},
    "mppi, H = 5": {"kind": "mppi", "horizon": 5},
    "cem, H = 5, no proposals": {"kind": "cem", "horizon": 5, "policy_samples": 0},
    "cem, H = 5, no value": {"kind": "cem", "horizon": 5, "value": False},
}


def measured(run: Path, episodes: int, scratch: Path) -> dict[str, Any]:
    """Mean held-out returns of the run in folder ``run`` by policy, and its predictor's errors."""
    recipe: Any = stored_recipe(run)
    returns: dict[str, float] = {}
    for name, planner in VARIANTS.items():
        found = evaluate(run, episodes, SEED, planner=planner, overrides={"env.num_envs": episodes})
        returns |= {mode: found[mode]["mean"] for mode in MODES} | {name: found[PLANNED]["mean"]}
        sys.stderr.write(f"{run}: {name}: {found[PLANNED]['mean']:.1f} (greedy {found['greedy']['mean']:.1f})\n")
    ahead = imagine(run, scratch / run.name, AHEAD, seed=SEED)
    errors = {name: ahead[name] for name in ("k", "predicted", "copied", "mean")}
    return {
        "task": recipe.env.id,
        "recipe": recipe.name,
        "seed": recipe.seed,
        "env_steps": found["env_steps"],
        "episodes": episodes,
        "returns": returns,
        "errors": errors,
    }


def tables(found: list[dict[str, Any]]) -> Iterator[str]:
    """A table for each task."""
    for task in sorted({row["task"] for row in found}):
        rows = [row for row in found if row["task"] == task]
        seeds = ", ".join(str(row["seed"]) for row in rows)
        yield f"{task}, {rows[0]['env_steps']:,} env steps, seeds {seeds}, {rows[0]['episodes']} episodes each\n\n"
        yield "| policy | return: interquartile mean | 95% interval | more than greedy, by seed |\n|---|---|---|---|\n"
        for name in rows[0]["returns"]:
            value, interval = estimate([row["returns"][name] for row in rows])
            spread = f"{interval.low:.1f} to {interval.high:.1f}" if interval else "–"
            gains = ", ".join(f"{row['returns'][name] - row['returns']['greedy']:+.1f}" for row in rows) if name != "greedy" else "–"
            yield f"| {name} | {value:.1f} | {spread} | {gains} |\n"
        yield "\n"


def main() -> None:
    """Play what has not been played, write the file, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the runs")
    parser.add_argument("--episodes", type=int, default=10, help="held-out episodes, played side by side")
    parser.add_argument("--json", type=Path, required=True, help="file of the figures")
    options = parser.parse_args()
    found: list[dict[str, Any]] = json.loads(options.json.read_text()) if options.json.exists() else []
    played = {(row["recipe"], row["seed"], row["env_steps"]) for row in found}
    for run in sorted(path.parent for path in options.runs.glob("*/summary.json")):
        recipe, summary = stored_recipe(run), json.loads((run / "summary.json").read_text())
        if summary["status"] == "finished" and (recipe.name, recipe.seed, summary["env_steps"]) not in played:
            found.append(measured(run, options.episodes, options.json.parent / "imagined"))
            found.sort(key=lambda row: (row["task"], row["seed"]))
            options.json.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(options.json, json.dumps(found, indent=1) + "\n")
    sys.stdout.writelines(tables(found))


if __name__ == "__main__":
    main()
