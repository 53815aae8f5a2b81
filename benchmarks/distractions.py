"""How much return trained agents keep where distractions are new to them.

    jepakit ablate studies/distractions && jepakit record runs/distractions --to docs/results/distractions/runs
    python benchmarks/distractions.py runs/distractions --json docs/results/distractions/shifted.json

Each run that was trained without distractions plays held-out episodes, sampling its actions, under each distraction below; the seeds of the
episodes are the same for all. A table of what was kept: the mean return under a distraction, divided by that without.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from jepakit.agent.evaluate import evaluate
from jepakit.storage.stored import stored_recipe

SHIFTS: dict[str, list[dict[str, Any]]] = {
    "as trained": [],
    "noise, each step": [{"kind": "noise", "changes": "step", "strength": 0.25}],
    "noise, fixed": [{"kind": "noise", "changes": "episode", "strength": 0.25}],
    "video": [{"kind": "video", "strength": 0.25}],
    "colours": [{"kind": "colours", "strength": 0.15}],
    "camera": [{"kind": "camera", "shift": 2}],
}
SEED = 7  #: of the episodes


def measured(run: Path, episodes: int) -> dict[str, Any]:
    """The mean held-out return of the run in folder ``run`` under each distraction."""
    recipe = stored_recipe(run)
    returns = {}
    for name, distractions in SHIFTS.items():
        found = evaluate(run, episodes, SEED, overrides={"distractions": distractions} if distractions else ())
        returns[name] = found["sampled"]["mean"]
    return {"case": str(recipe.case).partition(",")[0], "seed": recipe.seed, "episodes": episodes, "returns": returns}


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the study's folder")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    finished = sorted(path.parent for path in options.runs.glob("*/summary.json"))
    found = [measured(run, options.episodes) for run in finished if not stored_recipe(run).distractions]
    sys.stdout.write(f"| trained by | {' | '.join(SHIFTS)} |\n|---|{'---|' * len(SHIFTS)}\n")
    for case in sorted({row["case"] for row in found}):
        rows = [row["returns"] for row in found if row["case"] == case]
        clean = fmean(row["as trained"] for row in rows)
        kept = [f"{clean:.0f} ({len(rows)} seeds)"]
        kept += [f"{fmean(row[name] / row['as trained'] for row in rows):.0%}" for name in SHIFTS if name != "as trained"]
        sys.stdout.write(f"| {case} | {' | '.join(kept)} |\n")
    if options.json:
        options.json.write_text(json.dumps(sorted(found, key=lambda row: (row["case"], row["seed"])), indent=1) + "\n")


if __name__ == "__main__":
    main()
