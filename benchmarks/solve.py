"""Wall-clock from the start of `jepakit run RECIPE` to its end, imports included, and how good its policy then is.

    python benchmarks/solve.py cartpole_fast --seeds 100,101,102,103,104 --json solve.json

One run at a time. Then `jepakit eval` plays 50 held-out episodes with each; its time does not count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from jepakit.report.statistics import estimate

SEEDS = (100, 101, 102, 103, 104)


def solve(recipe: str, seed: int, episodes: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds of one run, its env steps, and its held-out returns."""
    words = [word for override in overrides for word in ("--set", override)]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        started = perf_counter()
        _jepakit("run", recipe, "--set", f"seed={seed}", *words, "--quiet", "--out", str(run))
        seconds = perf_counter() - started
        _jepakit("eval", str(run), "--episodes", str(episodes))
        summary, held_out = (json.loads((run / name).read_text()) for name in ("summary.json", "eval.json"))
    return {
        "seed": seed,
        "seconds": round(seconds, 2),
        "env_steps": summary["env_steps"],
        "spent": summary["seconds"],
        "sampled": held_out["sampled"]["mean"],
        "greedy": held_out["greedy"]["mean"],
    }


def solve_all(
    recipe: str, seeds: Sequence[int], episodes: int, tell: Callable[[str], object], overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """All seeds in turn: each run, the median of their seconds, and the interquartile mean of the sampled policy's returns."""
    runs = []
    for seed in seeds:
        runs.append(found := solve(recipe, seed, episodes, overrides))
        tell(f"{recipe}, seed {seed}: {found['seconds']:.1f} s, sampled {found['sampled']:.1f}, greedy {found['greedy']:.1f}")
    settings = {"recipe": recipe, "overrides": list(overrides), "episodes": episodes}
    return settings | {"runs": runs, "iqm": round(estimate([run["sampled"] for run in runs]).value, 1)}


def _jepakit(*words: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", "jepakit", *words], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="cartpole_fast")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), metavar="N,N,…")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    found = solve_all(options.recipe, seeds, options.episodes, lambda line: sys.stdout.write(f"{line}\n"), options.overrides)
    sys.stdout.write(f"interquartile mean {found['iqm']}\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
