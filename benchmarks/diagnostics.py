"""What all diagnostics together cost, as a share of a run's time.

    python benchmarks/diagnostics.py --json docs/results/diagnostics.json
    python benchmarks/diagnostics.py cartpole_dqn --steps 5000

Each recipe trains with every built-in diagnostic at the default interval. The share is ``time/diagnostics`` of the records over the seconds
from the first batch to the last, of the same run: what else the machine does slows both. The records of before the last look are counted
with the batches up to it. Exit code 1: a share is above 5%.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jepakit.recipe import load_recipe
from jepakit.training.run import run

MOST = 0.05  #: share that the diagnostics may cost


def cost(recipe: str, steps: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Figures of one recipe."""
    loaded = load_recipe(recipe, [*overrides, f"total_steps={steps}"])
    with tempfile.TemporaryDirectory() as folder:
        path = run(loaded, out=Path(folder) / "run", quiet=True).path
        records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    looks = [record for record in records if record["phase"] == "diagnostics"]
    trained = [record for record in records if record["phase"] == "train" and record["env_steps"] <= looks[-1]["env_steps"]]
    seconds = [look["time/diagnostics"] for look in looks]
    whole = trained[-1]["wall_s"] - trained[0]["wall_s"] + trained[0]["time/batch"]
    return {
        "recipe": recipe,
        "kinds": [config.kind for config in loaded.diagnostics],
        "diagnostics_every": loaded.diagnostics_every,
        "env_steps": looks[-1]["env_steps"],
        "records": len(looks),
        "seconds_a_record": round(sum(seconds) / len(seconds), 3),
        "seconds_of_the_run": round(whole, 1),
        "share": round(sum(seconds) / (whole - sum(seconds)), 4),
    }


def main() -> None:
    """Measure, print and, on request, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["cartpole_pixels", "cartpole_dqn"])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = [cost(recipe, arguments.steps, arguments.overrides) for recipe in arguments.recipes]
    text = json.dumps(found, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text)
    sys.exit(any(each["share"] > MOST for each in found))


if __name__ == "__main__":
    main()
