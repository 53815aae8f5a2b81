"""Measures what `torch.compile` gains on a recipe's encoder, and what five seeds cost as one batched model.

    python -m benchmarks.encoder --json docs/results/encoder.json     # some five minutes on 2 idle cores

Milliseconds of one minibatch. Ratios are medians of rounds, in which the ways take turns, with the smallest and the largest. Compiling
needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compiling is timed

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from jepakit.machine.hardware import Hardware, keep_freed_memory
from jepakit.protocols import PIXELS
from jepakit.recipe.load import load_recipe
from jepakit.storage.provenance import provenance
from jepakit.training.build import build_env, build_learner

RECIPES = ("cartpole_pixels", "pixels")
SEEDS, ROWS, ROUNDS, CALLS = 5, 64, 8, 10

Pass = Callable[[], None]


def encoders(recipe: str, threads: int) -> tuple[list[nn.Module], Tensor]:
    """The encoders of the first seeds of ``recipe``, and a minibatch for each, uint8 [SEEDS, ROWS, K, C, H, W]."""
    made, frames = [], torch.empty(0)
    for seed in range(SEEDS):
        loaded = load_recipe(recipe, ("env.num_envs=1",), seed)
        env = build_env(loaded)
        made.append(build_learner(loaded, env, Hardware("cpu", "fp32", threads)).encoder)
        frames = env.observation_spec[PIXELS].zero()
    return made, torch.randint(256, (SEEDS, ROWS, *frames.shape[1:]), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def passes(encode: Callable[[Tensor], Tensor], weights: Sequence[Tensor], pixels: Tensor) -> dict[str, Pass]:
    """A forward pass without gradients, and one with a backward pass."""

    def forward() -> None:
        with torch.no_grad():
            encode(pixels)

    def both() -> None:
        torch.autograd.grad(encode(pixels).square().sum(), weights)

    return {"forward": forward, "forward and backward": both}


def measure(recipe: str, threads: int) -> dict[str, Any]:
    """Milliseconds of the recipe's encoder by way and pass, the ratios to one seed as it is, and the seconds of compiling."""
    torch.set_num_threads(threads)
    seeds, pixels = encoders(recipe, threads)
    one = seeds[0]
    weights, buffers = stack_module_state(seeds)
    batched = vmap(lambda weights, buffers, pixels: functional_call(one, (weights, buffers), (pixels,)))
    ways: dict[str, dict[str, Pass]] = {
        "one seed": passes(one, [*one.parameters()], pixels[0]),
        "one seed, compiled": passes(torch.compile(one), [*one.parameters()], pixels[0]),
        "five seeds, batched": passes(lambda pixels: batched(weights, buffers, pixels), [*weights.values()], pixels),
    }
    started = perf_counter()
    for run in ways["one seed, compiled"].values():
        run()
    compiling = perf_counter() - started
    ms: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for way, each in ways.items():
            for name, run in each.items():
                run()
                started = perf_counter()
                for _ in range(CALLS):
                    run()
                ms.setdefault((way, name), []).append((perf_counter() - started) / CALLS * 1e3)
    figures = [
        {"way": way, "pass": name, "ms": round(median(each), 2), "to one seed": spread(each, ms["one seed", name])}
        for (way, name), each in ms.items()
    ]
    return {"recipe": recipe, "threads": threads, "compiling_s": round(compiling, 1), "passes": figures}


def spread(mine: Sequence[float], others: Sequence[float]) -> list[float]:
    """Median, smallest and largest ratio over the rounds."""
    ratios = [one / other for one, other in zip(mine, others, strict=True)]
    return [round(figure, 2) for figure in (median(ratios), min(ratios), max(ratios))]


def main() -> None:
    """Print a line for each way; with ``--json``, write all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    keep_freed_memory()
    figures = []
    for recipe in RECIPES:
        for threads in (1, 2):
            figures.append(measure(recipe, threads))
            sys.stdout.write(f"{recipe}, {threads} threads, compiled in {figures[-1]['compiling_s']} s\n")
            for row in figures[-1]["passes"]:
                middle, low, high = row["to one seed"]
                sys.stdout.write(f"    {row['way']:<20} {row['pass']:<21} {row['ms']:>7} ms  {middle}x [{low}, {high}]\n")
            sys.stdout.flush()
    if options.json:
        machine = provenance(Hardware("cpu", "fp32", threads=2))
        options.json.write_text(json.dumps({"machine": machine, "rows": ROWS, "figures": figures}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
