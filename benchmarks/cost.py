"""What a whole run of each recipe costs on this machine, in hours and in memory, from a short one.

    python benchmarks/cost.py --json docs/results/cost.json
    python benchmarks/cost.py dmc/jepa_sac --set env.domain=walker --set env.task=walk --set env.action_repeat=2 --set total_steps=50_000

Each recipe runs until it has learned for some batches; its last batches give env steps per second. Recipes with a replay begin to learn at
once here. The hours are total_steps at that rate, without evaluation; the memory is the process's peak, before a replay has filled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

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
BATCHES = 5  #: collected in a short run; the rate is that of the last three


def shown(recipe: str, overrides: list[str]) -> dict[str, Any]:
    """The recipe with every default."""
    text = subprocess.run([sys.executable, "-m", "jepakit", "show", recipe, *overrides], capture_output=True, text=True, check=True).stdout
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def cost(recipe: str, overrides: list[str]) -> dict[str, Any]:
    """Figures of one recipe; ``overrides`` are words of the command line."""
    whole = shown(recipe, overrides)
    algorithm = whole["algorithm"]
    batch = algorithm["rollout_steps"] * whole["env"]["num_envs"]
    short = [f"total_steps={batch * (BATCHES + ('learning_starts' in algorithm))}", f"checkpoint_every={10**9}"]
    if "learning_starts" in algorithm:
        short += [f"algorithm.learning_starts={batch}"]
    words = [word for override in short for word in ("--set", override)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jepakit", "run", recipe, *overrides, *words, "--quiet", "--out", f"{folder}/run"]
        _, status, used = os.wait4(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, 0)
        if status:
            sys.exit(os.waitstatus_to_exitcode(status))
        records = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
    last = [record for record in records if record["phase"] == "train"][-3:]
    seconds = sum(record["time/batch"] for record in last)
    return {
        "recipe": recipe,
        "overrides": overrides[1::2],
        "total_steps": whole["total_steps"],
        "threads": whole["threads"],
        "steps_per_second": round(3 * batch / seconds, 2),
        "env_share": round(sum(record["time/env"] for record in last) / seconds, 3),
        "hours": round(whole["total_steps"] * seconds / (3 * batch) / 3600, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
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
