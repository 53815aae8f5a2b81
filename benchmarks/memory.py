"""Does memory stay flat over a long run? The resident memory of a training process against env steps.

python benchmarks/memory.py --recipe cartpole_pixels --steps 300000 --json docs/results/memory_ppo.json
python benchmarks/memory.py --recipe cartpole_dqn --steps 300000 --json docs/results/memory_dqn.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 2.0  #: between two looks


def resident(pid: int) -> int:
    """Bytes of the process that lie in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024 * int(line.split()[1])
    return 0  # it is ending


def env_steps(metrics: Path) -> int:
    """Of the last whole record."""
    if not metrics.exists():
        return 0
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - 4096))
        whole = file.read().decode(errors="replace").splitlines()[:-1]
    steps = [json.loads(line)["env_steps"] for line in whole[1:]]
    return steps[-1] if steps else 0


def watch(recipe: str, steps: int) -> list[tuple[int, int]]:
    """(env steps, bytes) of a run of so many steps, some hundred of them."""
    curve: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "jepakit", "run", recipe, "--set", f"total_steps={steps}", "--out", str(out), "--quiet"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            now = env_steps(out / "metrics.jsonl")
            if now > (curve[-1][0] if curve else 0) + steps // 200:
                curve.append((now, resident(process.pid)))
            time.sleep(SECONDS)
    if process.returncode:
        sys.exit(process.returncode)
    return curve


def main() -> None:
    """Print how much memory grew over the second half of the run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", default="cartpole_pixels")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    curve = watch(arguments.recipe, arguments.steps)
    middle, end = curve[len(curve) // 2], curve[-1]
    grown = (end[1] - middle[1]) / 1e6
    print(f"{arguments.recipe}: {end[1] / 1e6:,.0f} MB after {end[0]:,} env steps, {grown:+,.1f} MB since {middle[0]:,}")  # noqa: T201
    if arguments.json:
        arguments.json.write_text(json.dumps({"recipe": arguments.recipe, "curve": curve}) + "\n")


if __name__ == "__main__":
    main()
