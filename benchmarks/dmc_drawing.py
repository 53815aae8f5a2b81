"""Measures how fast dm_control's frames are rendered, exactly and fast, and how much the fast frames differ from the exact ones.

    python benchmarks/dmc_drawing.py --json docs/results/dmc_drawing.json

Frames are 84×84, rendered by one process. Rates are frames per second of CPU time (``cpu``), which other work on the machine affects less,
and of wall-clock time (``wall``). Differences are in levels of 0 to 255, over all pixels of frames of the same states.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepakit.components.envs.dmc.simulator import Draw, make_simulator
from jepakit.components.envs.opengl import choose_opengl

TASKS = ("cartpole/swingup", "walker/walk", "reacher/easy", "cheetah/run", "finger/spin", "ball_in_cup/catch")
STEPS_BETWEEN = 8


def draw_frames(task: str, draw: Draw, frames: int) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """Frames [F, 84, 84, 3] of an episode of random actions, which is the same for both modes, and the rates."""
    simulator = make_simulator(*task.split("/"), STEPS_BETWEEN, (84, 84), 0, draw, 1000)
    draws, space = np.random.default_rng(0), simulator.action_space
    simulator.render()  # the first call sets up what later calls use
    drawn, cpu, wall = [], 0.0, 0.0
    for _ in range(frames):
        simulator.step(draws.uniform(space.low, space.high))
        cpu_before, wall_before = process_time(), perf_counter()
        drawn.append(simulator.render())
        cpu, wall = cpu + process_time() - cpu_before, wall + perf_counter() - wall_before
    simulator.close()
    return np.stack(drawn), {"cpu frames/s": round(frames / cpu), "wall frames/s": round(frames / wall)}


def measure(task: str, frames: int) -> dict[str, Any]:
    """Rates of both modes, and the difference of their frames."""
    exact, exact_rates = draw_frames(task, "exact", frames)
    fast, fast_rates = draw_frames(task, "fast", frames)
    apart = np.abs(exact.astype(int) - fast)
    difference = {"mean": round(float(apart.mean()), 2), "share above 8": round(float((apart > 8).mean()), 4), "most": int(apart.max())}
    return {"task": task, "exact": exact_rates, "fast": fast_rates, "difference": difference}


def main() -> None:
    """Print one line for each task; with ``--json``, write all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's llvmpipe renders on the calling thread only
    machine = {**choose_opengl(), "frames": arguments.frames, "load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    tasks = []
    for task in TASKS:
        tasks.append(measure(task, arguments.frames))
        sys.stdout.write(json.dumps(tasks[-1]) + "\n")
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "tasks": tasks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
