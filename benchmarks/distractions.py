"""How much return trained agents keep where distractions are new to them.

    jepakit ablate studies/distractions && jepakit record runs/distractions --to docs/results/distractions/runs
    python benchmarks/distractions.py runs/distractions --json docs/results/distractions/shifted.json

    jepakit ablate studies/dmc100k --seeds 5
    python benchmarks/distractions.py runs/dmc100k --episodes 5 --policy greedy --jobs 2 --json docs/results/distractions/shifted_dmc.json

Each run that was trained without distractions plays held-out episodes under each distraction below; the seeds of the episodes are the same
for all. A table of what was kept: the mean return under a distraction, divided by that without.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from jepakit.agent.trained import opened
from jepakit.report.comparison import task_of
from jepakit.storage.stored import stored_recipe
from jepakit.training.monitoring.evaluation import MODES, play
from jepakit.training.policy import Policy

SHIFTS: dict[str, list[dict[str, Any]]] = {
    "as trained": [],
    "noise, each step": [{"kind": "noise", "changes": "step", "strength": 0.25}],
    "noise, fixed": [{"kind": "noise", "changes": "episode", "strength": 0.25}],
    "video": [{"kind": "video", "strength": 0.25}],
    "colours": [{"kind": "colours", "strength": 0.15}],
    "camera": [{"kind": "camera", "shift": 2}],
}
SEED = 7  #: of the episodes


def measured(run: Path, episodes: int, policy: str) -> dict[str, Any]:
    """The mean held-out return of the run in folder ``run`` under each distraction, acting ``sampled`` or ``greedy``."""
    recipe = stored_recipe(run)
    returns = {}
    for name, distractions in SHIFTS.items():
        with opened(run, overrides={"distractions": distractions} if distractions else (), trust=False, best=False, warn=print) as trained:
            trained.learner.parts.eval()
            returns[name] = play(trained.env, Policy(trained.learner), policy, episodes, SEED)["mean"]
    case = str(recipe.case).partition(",")[0]
    task = task_of(recipe.env.model_dump())
    return {"task": task, "case": case, "seed": recipe.seed, "policy": policy, "episodes": episodes, "returns": returns}


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the study's folder")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--policy", choices=MODES, default="sampled")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    runs = sorted(path.parent for path in options.runs.glob("*/summary.json"))
    runs = [run for run in runs if not stored_recipe(run).distractions]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as processes:
        found = list(processes.map(partial(measured, episodes=options.episodes, policy=options.policy), runs))
    sys.stdout.write(f"| task | trained by | {' | '.join(SHIFTS)} |\n|---|---|{'---|' * len(SHIFTS)}\n")
    for task, case in sorted({(row["task"], row["case"]) for row in found}):
        rows = [row["returns"] for row in found if (row["task"], row["case"]) == (task, case)]
        clean = fmean(row["as trained"] for row in rows)
        kept = [f"{clean:.0f} ({len(rows)} seed{'s' * (len(rows) > 1)})"]
        kept += [f"{fmean(row[name] / row['as trained'] for row in rows):.0%}" for name in SHIFTS if name != "as trained"]
        sys.stdout.write(f"| {task} | {case} | {' | '.join(kept)} |\n")
    if options.json:
        options.json.write_text(json.dumps(sorted(found, key=lambda row: (row["task"], row["case"], row["seed"])), indent=1) + "\n")


if __name__ == "__main__":
    main()
