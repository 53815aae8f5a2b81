"""The curves of runs as a small CSV: a row a run and 5,000 env steps.

python benchmarks/curves.py runs/cartpole_pixels/* > docs/results/cartpole_pixels.csv
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

BIN = 5_000
FIGURES = ("loss/jepa", "loss/critic", "embedding/variance", "embedding/rank")


def rows(run: Path) -> list[dict[str, Any]]:
    """Mean return of the episodes that ended in each bin, and the last train record's figures."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = []
    for end in range(BIN, records[-1]["env_steps"] + 1, BIN):
        within = [record for record in records if end - BIN < record["env_steps"] <= end]
        returns = [record["episode_return"] for record in within if record["phase"] == "episode"]
        train = [record for record in within if record["phase"] == "train"][-1]
        figures = {name: f"{train[name]:.4g}" for name in FIGURES if train.get(name) is not None}
        found.append({"run": run.name, "env_steps": end, "return": round(fmean(returns), 1) if returns else None, **figures})
    return found


def main() -> None:
    """Write the CSV to stdout."""
    writer = csv.DictWriter(sys.stdout, ["run", "env_steps", "return", *FIGURES], lineterminator="\n")
    writer.writeheader()
    for run in sys.argv[1:]:
        writer.writerows(rows(Path(run)))


if __name__ == "__main__":
    main()
