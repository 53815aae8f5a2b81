"""Measures the resident memory of a training process against env steps: does it stay flat over a long run?

python benchmarks/memory.py pendulum_pixels --set seed=100 --set threads=1 --json docs/results/memory_ppo.json
python benchmarks/memory.py cartpole_dqn --set total_steps=40_000 --set replay.capacity=10_000 --set algorithm.updates_per_step=0.02
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 2.0  #: between two measurements


def resident(pid: int) -> int:
    """Resident memory of the process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024 * int(line.split()[1])
    return 0  # the process is ending


def env_steps(metrics: Path) -> int:
    """Env steps of the last complete record."""
    if not metrics.exists():
        return 0
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - 4096))
        whole = file.read().decode(errors="replace").splitlines()[:-1]
    steps = [json.loads(line)["env_steps"] for line in whole[1:]]
    return steps[-1] if steps else 0


def watch(command: list[str], out: Path) -> list[tuple[int, int]]:
    """(env steps, bytes) of a run in ``out``, after each new record."""
    curve: list[tuple[int, int]] = []
    process = subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        now = env_steps(out / "metrics.jsonl")
        if now > (curve[-1][0] if curve else 0):
            curve.append((now, resident(process.pid)))
        time.sleep(SECONDS)
    if process.returncode:
        sys.exit(process.returncode)
    return curve


def thinned(curve: list[tuple[int, int]], points: int) -> list[tuple[int, int]]:
    """At most ``points`` points of the curve, evenly spaced, including the last."""
    if len(curve) <= points:
        return curve
    return [curve[round(n * (len(curve) - 1) / (points - 1))] for n in range(points)]


def main() -> None:
    """Print a run's memory over its course, and its growth over the second half."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", nargs="?", default="cartpole_pixels")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override, as in `jepakit run`")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the run in DIR")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    overrides = [word for override in arguments.set for word in ("--set", override)]
    command = [sys.executable, "-m", "jepakit", "run", arguments.recipe, *overrides, "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        curve = watch(command, arguments.out or Path(folder) / "run")
    for steps, size in thinned(curve, 12):
        print(f"{steps:>9,} env steps  {size / 1e6:7,.1f} MB")  # noqa: T201
    middle, end = curve[len(curve) // 2], curve[-1]
    print(f"{(end[1] - middle[1]) / 1e6:+,.1f} MB since {middle[0]:,} env steps")  # noqa: T201
    if arguments.json:
        found = {"recipe": arguments.recipe, "overrides": arguments.set, "env_steps_and_bytes": thinned(curve, 200)}
        arguments.json.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
