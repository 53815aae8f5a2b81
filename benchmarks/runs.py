"""How long `jepakit runs`, `watch`, `compare` and `report` take over thousands of run folders.

    python -m benchmarks.runs --json docs/results/runs.json
    python -m benchmarks.runs --count 200 --keep /tmp/many       # leaves the folders there

One real run of 2,000 env steps is copied again and again, with another seed and another configuration each time, and with ten times its
records. Its tensors are hard links. Of a hundred copies 70 have finished, 10 were interrupted, 5 have failed, 10 were killed, and 5 are
locked by this process, as if they were running. Each command is a process of its own. *Cold*: the index is removed, and the disk's cache
is dropped where this user may (as root). *Warm*: the command has run before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jepakit.storage.lock import Lock

CONFIGURATIONS = 40  #: a sweep's size; the other copies are seeds of these
REPEATS = 10  #: of a run's records
STATES = ("finished",) * 70 + ("interrupted",) * 10 + ("failed",) * 5 + ("killed",) * 10 + ("running",) * 5
TIMES = 3  #: that a warm command is timed; the median counts
DROP = Path("/proc/sys/vm/drop_caches")


def real_run(folder: Path) -> Path:
    """Train the main recipe for 2,000 env steps."""
    words = ["run", "cartpole_pixels", "--set", "total_steps=2000", "--set", "threads=1", "--quiet", "--out", str(folder)]
    subprocess.run([sys.executable, "-W", "ignore", "-m", "jepakit", *words], check=True, stdout=subprocess.DEVNULL)
    return folder


def copy(real: Path, top: Path, number: int) -> Path:
    """One more run: a copy of ``real`` with a configuration and a seed of its own."""
    configuration, seed = number % CONFIGURATIONS, number // CONFIGURATIONS
    recipe = (real / "recipe.yaml").read_text()
    for old, new in {
        "seed: 0": f"seed: {seed}",
        "total_steps: 2000": f"total_steps: {2000 * REPEATS}",
        "hidden: 256": f"hidden: {64 + configuration}",
    }.items():
        if recipe.count(f"{old}\n") != 1:
            sys.exit(f"the recipe no longer has one line `{old}`")
        recipe = recipe.replace(f"{old}\n", f"{new}\n")
    state = STATES[number * 37 % len(STATES)]  # 37: each configuration has runs in all states
    folder = top / "cartpole_pixels" / f"{number:010x}"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe)
    records = [json.loads(line) for line in (real / "metrics.jsonl").read_text().splitlines()]
    with (folder / "metrics.jsonl").open("w") as file:
        for repeat in range(REPEATS):
            file.writelines(json.dumps(record | {"env_steps": record["env_steps"] + 2000 * repeat}) + "\n" for record in records)
    for name in ("events.jsonl", "provenance.json"):
        (folder / name).write_bytes((real / name).read_bytes())
    if state not in ("killed", "running"):
        summary = json.loads((real / "summary.json").read_text())
        summary |= {"id": folder.name, "status": state, "env_steps": 2000 * REPEATS}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    for checkpoint in (real / "checkpoints").iterdir():
        for steps in (2000, 4000):
            there = folder / "checkpoints" / f"{steps:012d}"
            there.mkdir(parents=True)
            for file in checkpoint.iterdir():
                (there / file.name).hardlink_to(file)
    return folder


def hold_running(folders: Sequence[Path]) -> list[Lock]:
    """Lock the folders that count as running."""
    return [Lock(folder) for number, folder in enumerate(folders) if STATES[number * 37 % len(STATES)] == "running"]


def seconds_of(words: Sequence[str], environment: Mapping[str, str]) -> float:
    """The wall-clock time of one command, start-up included."""
    started = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "jepakit", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | dict(environment))
    return time.perf_counter() - started


def drop_caches() -> bool:
    """Empty the page cache; False where this user may not."""
    os.sync()
    try:
        DROP.write_text("3")
    except OSError:
        return False
    return True


def measure(top: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Seconds of each command, cold and warm."""
    found: dict[str, Any] = {"cold_is_disk_too": drop_caches()}
    found["runs_cold_s"] = round(seconds_of(("runs", str(top)), environment), 2)
    commands = {
        "runs": ("runs", str(top)),
        "runs_json": ("runs", str(top), "--json"),
        "watch_once": ("watch", str(top), "--once"),
        "compare": ("compare", str(top)),
    }
    for name, words in commands.items():
        times = [seconds_of(words, environment) for _ in range(TIMES)]
        found[f"{name}_s"] = round(statistics.median(times), 2)
    found["empty_s"] = round(seconds_of(("--version",), environment), 2)
    return found


def main() -> None:
    """Make the folders, time the commands, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="run folders")
    parser.add_argument("--keep", type=Path, help="make the folders here, or use those that are there, and leave them")
    parser.add_argument("--make-only", action="store_true", help="time nothing")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base = options.keep or Path(scratch)
        top = base / "runs"
        folders = sorted(top.glob("*/*"))
        if not folders:
            real = base / "real"
            real = real if real.exists() else real_run(real)
            folders = [copy(real, top, number) for number in range(options.count)]
        if options.make_only:
            return
        held = hold_running(folders)
        found = {
            "runs": len(folders),
            "configurations": min(CONFIGURATIONS, len(folders)),
            "metrics_bytes": (folders[0] / "metrics.jsonl").stat().st_size,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            **measure(top, {"XDG_CACHE_HOME": str(Path(scratch) / "cache")}),
        }
        for lock in held:
            lock.release()
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
