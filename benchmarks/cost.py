"""What a whole run of each recipe costs on this machine, in hours and in memory, from a short one.

    python -m benchmarks.cost --json docs/results/cost.json
    python -m benchmarks.cost dmc/jepa_sac --set env.domain=walker --set env.task=walk --set env.action_repeat=2 --set total_steps=50_000

Each recipe learns for some 20 seconds and is then killed. Recipes with a replay begin to learn at once here. The hours are total_steps at
the rate of these seconds, without evaluation; the memory is the process's peak in them, before a replay has filled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.timed_run import timed_run

RECIPES = (
    "cartpole_pixels",
    "pendulum_pixels",
    "cartpole_dqn",
    "cartpole_sac",
    "pixels",
    "minigrid/jepa_ppo",
    "dmc/jepa_ppo",
    "dmc/jepa_sac",
    "dmc/drq",
    "dmc/curl",
    "atari/jepa_dqn",
    "atari/spr",
    "atari/curl_der",
)
SECONDS = 20.0  #: of learning that are timed, and a batch at least


def shown(recipe: str, overrides: list[str]) -> dict[str, Any]:
    """The recipe with every default."""
    text = subprocess.run([sys.executable, "-m", "jepakit", "show", recipe, *overrides], capture_output=True, text=True, check=True).stdout
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def cost(recipe: str, overrides: list[str]) -> dict[str, Any]:
    """Figures of one recipe; ``overrides`` are words of the command line."""
    whole = shown(recipe, overrides)
    batch = whole["algorithm"]["rollout_steps"] * whole["env"]["num_envs"]
    at_once = ["--set", f"algorithm.learning_starts={batch}"] if "learning_starts" in whole["algorithm"] else []
    learned, memory, _ = timed_run(
        (recipe, *overrides, *at_once),
        lambda learned: len(learned) >= 2 and sum(record["time/batch"] for record in learned[1:]) >= SECONDS,
    )
    timed = learned[1:]  # the first makes what the others use
    seconds, steps = sum(record["time/batch"] for record in timed), batch * len(timed)
    return {
        "recipe": recipe,
        "overrides": overrides[1::2],
        "total_steps": whole["total_steps"],
        "threads": whole["threads"],
        "steps_per_second": round(steps / seconds, 2),
        "env_share": round(sum(record["time/env"] for record in timed) / seconds, 3),
        "hours": round(whole["total_steps"] * seconds / steps / 3600, 2),
        "peak_mb": memory,
    }


def main() -> None:
    """Print a row for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override, as in `jepakit run`")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    overrides = [word for override in options.set for word in ("--set", override)]
    found = []
    sys.stdout.write("| recipe | env steps | threads | env steps/s | hours | peak memory |\n|---|---|---|---|---|---|\n")
    for recipe in options.recipes:
        found.append(row := cost(recipe, overrides))
        cells = (f"`{recipe}`", f"{row['total_steps']:,}", row["threads"], row["steps_per_second"], row["hours"], f"{row['peak_mb']} MB")
        sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
