"""What `torch.compile` gains on a recipe's encoder, and what five seeds cost as one batched model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from jepakit.machine.hardware import Hardware, keep_freed_memory
from jepakit.protocols import PIXELS
from jepakit.recipe.load import load_recipe
from jepakit.training.build import build_env, build_learner

RECIPES = ("cartpole_pixels", "pixels")
THREADS = (1, 2)
SEEDS, ROWS = 5, 64
CALLS = 10  #: in a row, for one time
ONE, COMPILED, BATCHED = "one seed", "one seed, compiled", "five seeds, batched"

Pass = Callable[[], None]


def encoding(rounds: int, recipes: Sequence[str], threads: Sequence[int], tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure every recipe with every number of threads. Compiling needs a C++ compiler."""
    keep_freed_memory()
    torch.compiler.config.force_disable_caches = True  # type: ignore[attr-defined]  # compiling is timed
    found = []
    for recipe in recipes:
        for number in threads:
            tell(f"encoder of {recipe}, torch threads: {number}")
            found.append({"recipe": recipe, "threads": number, **measured(recipe, number, rounds)})
    return {"rows": ROWS, "seeds": SEEDS, "encoders": found}


def measured(recipe: str, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds of compiling, and milliseconds of each way and pass in every round, in which the ways take turns."""
    torch.set_num_threads(threads)
    seeds, pixels = encoders(recipe, threads)
    one = seeds[0]
    weights, buffers = stack_module_state(seeds)
    batched = vmap(lambda weights, buffers, pixels: functional_call(one, (weights, buffers), (pixels,)))
    ways = {
        ONE: passes(one, [*one.parameters()], pixels[0]),
        COMPILED: passes(torch.compile(one), [*one.parameters()], pixels[0]),
        BATCHED: passes(lambda pixels: batched(weights, buffers, pixels), [*weights.values()], pixels),
    }
    started = perf_counter()
    for run in ways[COMPILED].values():
        run()
    compiling = perf_counter() - started
    ms: dict[str, dict[str, list[float]]] = {way: {name: [] for name in each} for way, each in ways.items()}
    for _ in range(rounds):
        for way, each in ways.items():
            for name, run in each.items():
                run()
                started = perf_counter()
                for _ in range(CALLS):
                    run()
                ms[way][name].append((perf_counter() - started) / CALLS * 1e3)
    return {"compiling": compiling, "ms": ms}


def encoders(recipe: str, threads: int) -> tuple[list[nn.Module], Tensor]:
    """The encoders of the first seeds of ``recipe``, and a minibatch for each, uint8 [SEEDS, ROWS, K, C, H, W]."""
    recipes = [load_recipe(recipe, ("env.num_envs=1",), seed) for seed in range(SEEDS)]
    with closing(build_env(recipes[0])) as env:
        made = [build_learner(each, env, Hardware("cpu", "fp32", threads)).encoder for each in recipes]
        shape = env.observation_spec[PIXELS].shape[1:]
    return made, torch.randint(256, (SEEDS, ROWS, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def passes(encode: Callable[[Tensor], Tensor], weights: Sequence[Tensor], pixels: Tensor) -> dict[str, Pass]:
    """A forward pass without gradients, and one with a backward pass."""

    def forward() -> None:
        with torch.no_grad():
            encode(pixels)

    def both() -> None:
        torch.autograd.grad(encode(pixels).square().sum(), weights)

    return {"forward": forward, "forward and backward": both}
