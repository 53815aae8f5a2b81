"""Measures what one frame of Gymnasium's pygame envs costs, stage by stage, and that it has the pixels of plain Gymnasium.

    python benchmarks/drawing.py --json docs/results/drawing.json

Microseconds on one thread, with freed memory kept as in a run: the least of several rounds' means. ``draw plain`` is `gymnasium.make`;
``draw before`` has 24 bits a pixel on the last surface only. ``frame`` resizes to 40×60 and converts to grey, ``before`` with PyTorch and
now with NumPy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.components.envs.simulators import make_simulator
from jepakit.components.shared.frames import to_frame
from jepakit.machine.hardware import keep_freed_memory

IDS = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "LunarLander-v3")
ROUNDS, STEPS, SIZE = 8, 50, (40, 60)


def on_packed_canvas(id: str) -> gymnasium.Env[Any, Any]:
    """Plain Gymnasium, but for a last surface of 24 bits a pixel."""
    import pygame

    simulator: Any = gymnasium.make(id, render_mode="rgb_array")
    simulator.reset(seed=0)
    height, width = simulator.render().shape[:2]
    if simulator.unwrapped.screen is not None:  # Box2D has none
        simulator.unwrapped.screen = pygame.Surface((width, height), depth=24, masks=(0xFF, 0xFF00, 0xFF0000, 0))
    return simulator


def frame_with_torch(image: NDArray[np.uint8]) -> Tensor:
    """The grey frame [1, 40, 60] of ``image``, by PyTorch alone."""
    red, green, blue = to_frame(image, SIZE, grayscale=False).float()
    return (0.299 * red + 0.587 * green + 0.114 * blue).round().to(torch.uint8)[None]


def measure(id: str) -> dict[str, Any]:
    """Microseconds by stage, and how many frames differ between ``plain`` and ``now``."""
    makers = {"plain": lambda: gymnasium.make(id, render_mode="rgb_array"), "before": lambda: on_packed_canvas(id)}
    simulators: dict[str, Any] = {name: make() for name, make in makers.items()} | {"now": make_simulator(id, None, {})}
    for simulator in simulators.values():
        simulator.reset(seed=0)
    rounds: dict[str, list[float]] = {}
    draws, differing = simulators["plain"].action_space, 0
    draws.seed(0)
    for _ in range(ROUNDS):
        spent: dict[str, float] = {}
        actions = [draws.sample() for _ in range(STEPS)]
        # One after the other: between its frames a run draws with no other kind.
        images = {name: played(spent, name, simulator, actions) for name, simulator in simulators.items()}
        differing += sum(not np.array_equal(plain, now) for plain, now in zip(images["plain"], images["now"], strict=True))
        for image in images["now"]:
            to_frame(image, SIZE, grayscale=True)  # brings the image into the cache
            before = timed(spent, "frame before", lambda: frame_with_torch(image))  # noqa: B023
            now = timed(spent, "frame now", lambda: to_frame(image, SIZE, grayscale=True))  # noqa: B023
            differing += not torch.equal(before, now)
        for stage, seconds in spent.items():
            rounds.setdefault(stage, []).append(seconds / STEPS * 1e6)
    for simulator in simulators.values():
        simulator.close()
    least = {stage: round(min(means), 1) for stage, means in rounds.items()}
    stages = {stage: least[stage] for stage in ("step now", "draw plain", "draw before", "draw now", "frame before", "frame now")}
    return {"id": id, "us": stages, "frames": ROUNDS * STEPS, "differing": differing}


def played(spent: dict[str, float], name: str, simulator: gymnasium.Env[Any, Any], actions: list[Any]) -> list[NDArray[np.uint8]]:
    """What ``simulator`` draws after each of ``actions``; the seconds are added to its stages."""
    images = []
    for action in actions:
        *_, terminated, truncated, _ = timed(spent, f"step {name}", lambda: simulator.step(action))  # noqa: B023
        images.append(timed(spent, f"draw {name}", simulator.render).copy())  # a run keeps no image either
        if terminated or truncated:
            simulator.reset()
    return images


def timed(spent: dict[str, float], stage: str, call: Callable[[], Any]) -> Any:
    """What ``call`` returns; its seconds are added to ``stage``."""
    started = perf_counter()
    result = call()
    spent[stage] = spent.get(stage, 0.0) + perf_counter() - started
    return result


def main() -> None:
    """Print one line for each env; with ``--json``, write all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    machine = {
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "gymnasium": gymnasium.__version__,
        "load": round(os.getloadavg()[0], 1),
    }
    envs = []
    for id in IDS:
        envs.append(measure(id))
        sys.stdout.write(json.dumps(envs[-1]) + "\n")
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "size": SIZE, "envs": envs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
