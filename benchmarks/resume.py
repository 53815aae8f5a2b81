"""Kills runs at random moments, resumes them, and compares the results with a run that was never killed: every bit must be the same.

    python benchmarks/resume.py --kills 20 --recipe cartpole_pixels --recipe cartpole_dqn --set total_steps=3000 --json resume.json

Each run is its own process. SIGKILL may hit it between batches, within one, while it saves, before its first checkpoint, or while it
resumes. The comparison covers ``metrics.jsonl``, except times, and every tensor of the last checkpoint: weights, optimizer, random number
generators, simulators, experience, and the frames of a replay. Exit code 1: something differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepakit.storage.checkpoint import load_tensors
from jepakit.storage.manifest import FILES, checkpoints, load_state
from jepakit.training.run import resume, run

POLL_SECONDS = 0.005
JITTER_SECONDS = 0.1


def processes() -> ForkServerContext:
    """A fork server whose processes have already imported torch, which takes seconds, but have not used it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jepakit.training.run"])
    return context


def run_whole(context: ForkServerContext, recipe: Path | str, overrides: Sequence[str], folder: Path) -> None:
    """Run without kills."""
    _finish(_start(context, recipe, overrides, folder))


def run_killed(
    context: ForkServerContext, recipe: Path | str, overrides: Sequence[str], folder: Path, size: int, kills: int, rng: random.Random
) -> list[dict[str, Any]]:
    """Run, kill and resume, ``kills`` times.

    Args:
        context: The result of `processes`.
        recipe: The recipe to run.
        overrides: Overrides of the recipe.
        folder: The run's folder.
        size: Size of the uninterrupted run's ``metrics.jsonl``. A kill comes shortly after this run's file reaches a random share of it.
        kills: Number of kills.
        rng: Draws the moments of the kills.

    Returns:
        For each kill, the env steps so far and those of the checkpoint to resume from.
    """
    process = _start(context, recipe, overrides, folder)
    metrics, killed = folder / "metrics.jsonl", []
    for part in sorted(rng.random() for _ in range(kills)):
        while process.is_alive() and (metrics.stat().st_size if metrics.exists() else 0) <= part * size:
            time.sleep(POLL_SECONDS)
        time.sleep(rng.random() * JITTER_SECONDS)
        if (folder / "summary.json").exists():
            break  # the run ended first
        process.kill()
        process.join()
        if (folder / "summary.json").exists():
            return killed  # the run ended just before the kill
        if not (folder / "recipe.yaml").exists():
            raise SystemExit(f"{folder}: killed before its recipe was written")
        newest = checkpoints(folder / "checkpoints")[-1:]
        killed.append({"env_steps": _steps(metrics), "from": int(newest[0].name) if newest else 0})
        process = context.Process(target=resume, args=(folder,), kwargs={"quiet": True})
        process.start()
    _finish(process)
    return killed


def differences(whole: Path, other: Path) -> list[str]:
    """The differences between two runs that should be identical: lines of metrics, tensors, frames."""
    found = []
    lines, theirs = timeless(whole), timeless(other)
    if lines != theirs:
        first = next((n for n, (a, b) in enumerate(zip(lines, theirs, strict=False)) if a != b), min(len(lines), len(theirs)))
        found.append(f"metrics.jsonl:{first + 1}")
    (path, _), (their_path, _) = ends = [(checkpoints(folder / "checkpoints")[-1], folder) for folder in (whole, other)]
    for name in FILES:
        tensors, their_tensors = load_tensors(path, name), load_tensors(their_path, name)
        found += [f"{name}: {key}" for key in sorted(tensors.keys() ^ their_tensors.keys())]
        found += [f"{name}: {key}" for key in tensors.keys() & their_tensors.keys() if not same(tensors[key], their_tensors[key])]
    ring, their_ring = (frames(*end) for end in ends)
    for env, held in ring.items():
        theirs_held = their_ring.get(env, {})
        both = held.keys() & theirs_held.keys()  # how many old frames remain depends on when the run saved
        if max(held) != max(theirs_held, default=None) or not all(same(held[n], theirs_held[n]) for n in both):
            found.append(f"frames of env {env}")
    return found


def same(one: Tensor, other: Tensor) -> bool:
    """Bitwise equality: NaN equals itself, and 0 differs from -0."""
    shape_and_type = (one.shape, one.dtype) == (other.shape, other.dtype)
    return shape_and_type and torch.equal(one.contiguous().flatten().view(torch.uint8), other.contiguous().flatten().view(torch.uint8))


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The records of ``metrics.jsonl``, without times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "wall_s" and not name.startswith("time/")} for record in records]


def frames(path: Path, folder: Path) -> dict[str, dict[int, Tensor]]:
    """A replay's frames at a checkpoint, by env and number, from all files."""
    from safetensors.torch import load_file

    held: dict[str, dict[int, Tensor]] = {}
    for segment in load_state(path)["frames"]:
        tensors = load_file(folder / "replay" / segment["name"])
        for env, begin in enumerate(tensors["begin"].tolist()):
            held.setdefault(str(env), {}).update(enumerate(tensors[str(env)], start=begin))
    return held


def _start(context: ForkServerContext, recipe: Path | str, overrides: Sequence[str], folder: Path) -> BaseProcess:
    process = context.Process(target=run, args=(recipe,), kwargs={"overrides": overrides, "out": folder, "quiet": True})
    process.start()
    return process


def _finish(process: BaseProcess) -> None:
    process.join()
    if process.exitcode:
        raise SystemExit(f"a run failed with exit code {process.exitcode}")


def _steps(metrics: Path) -> int:
    """Env steps of the newest train record."""
    lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
    return next((record["env_steps"] for record in map(json.loads, reversed(lines)) if record["phase"] == "train"), 0)


def main() -> None:
    """Print one line for each run; with ``--json``, write all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="kills for each recipe")
    parser.add_argument("--each", type=int, default=5, help="kills for each run")
    parser.add_argument("--recipe", action="append", required=True, help="may be repeated")
    parser.add_argument("--set", action="append", default=[], help="override a value of each recipe")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    context, rng, figures, all_same = processes(), random.Random(arguments.seed), [], True
    for recipe in arguments.recipe:
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch) / "whole"
            run_whole(context, recipe, arguments.set, whole)
            size, left, kills, odd = (whole / "metrics.jsonl").stat().st_size, arguments.kills, [], []
            while left > 0:
                folder = Path(scratch) / str(left)
                killed = run_killed(context, recipe, arguments.set, folder, size, min(left, arguments.each), rng)
                differ = differences(whole, folder)
                sys.stdout.write(f"{recipe}: killed at {[kill['env_steps'] for kill in killed]}: {differ or 'identical'}\n")
                sys.stdout.flush()
                left, kills, odd = left - len(killed), kills + killed, odd + differ
            figures.append({"recipe": recipe, "set": arguments.set, "kills": kills, "different": odd})
            all_same = all_same and not odd
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(not all_same)


if __name__ == "__main__":
    main()
