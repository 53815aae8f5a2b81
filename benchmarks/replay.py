"""Measures the cost of replay: memory relative to that of the frames alone, and minibatches/s.

    python benchmarks/replay.py            # a minute
    python benchmarks/replay.py --json docs/results/replay.json

Stores 100,000 env steps of 84×84 grey frames in stacks of 3, from 8 envs whose episodes last 100 steps on average. Then samples
minibatches of 64 windows with horizon 1 and 3-step returns, on one thread. Each variant runs in its own process. Resident memory is as
Linux reports it: the process's own memory and, separately, the pages of the file of frames, which the system can reclaim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace
from typing import Any

CAPACITY = 100_000
SIDE = 84
STACK = 3
ENVS = 8
TURN = 16  #: steps of each env in a batch
EPISODE = 100
BATCH = 64

VARIANTS = ("uniform", "prioritized", "uniform, memory-mapped")


def resident(kind: str) -> int:
    """Resident bytes of this process: its own (``RssAnon``) or those of mapped files (``RssFile``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(kind))


def batches() -> Iterator[Any]:
    """Batches [N, T] of noise, in a collector's form."""
    import torch
    from tensordict import TensorDict

    def noise() -> torch.Tensor:
        return torch.randint(256, (ENVS, 1, 1, SIDE, SIDE), dtype=torch.uint8)

    stack = noise().expand(-1, STACK, -1, -1, -1)
    while True:
        steps = []
        for _ in range(TURN):
            after = torch.cat((stack[:, 1:], noise()), dim=1)
            done = torch.rand(ENVS, 1) < 1 / EPISODE
            following = {"pixels": after, "reward": torch.rand(ENVS, 1), "done": done, "terminated": done}
            steps.append(TensorDict({"pixels": stack, "action": torch.randint(2, (ENVS,)), "next": following}, batch_size=[ENVS]))
            stack = torch.where(done[..., None, None, None], noise(), after)
        yield torch.stack(steps, dim=1)


def measure(variant: str, folder: Path) -> dict[str, Any]:
    """Memory and speed of a full replay, in this process."""
    import torch

    from jepakit.machine.hardware import keep_freed_memory
    from jepakit.protocols import FrameShape
    from jepakit.recipe.schema import Replay as Settings
    from jepakit.training.experience.replay import Replay

    torch.set_num_threads(1)
    keep_freed_memory()
    sampler, _, mapped = variant.partition(", ")
    algorithm: Any = SimpleNamespace(gamma=0.99, n_step=3, minibatch_size=BATCH, learning_starts=0, updates_per_step=1.0)
    settings = Settings(capacity=CAPACITY, sampler=sampler)  # type: ignore[arg-type]
    replay = Replay(algorithm, 1, FrameShape(STACK, 1, SIDE, SIDE), ENVS, settings, folder=folder if mapped else None)

    source = batches()
    next(source)
    before = {kind: resident(kind) for kind in ("RssAnon", "RssFile")}
    seconds = 0.0
    turns = int(1.2 * CAPACITY / (ENVS * TURN))  # enough to write every slot of the ring
    for _ in range(turns):
        batch = next(source)
        started = perf_counter()
        replay.extend(batch)
        seconds += perf_counter() - started
    for _ in range(20):
        replay.learned(_with_errors(replay.sample()))
    grown = {kind: resident(kind) - before[kind] for kind in before}

    started, count = perf_counter(), 0
    while perf_counter() - started < 3:
        replay.sample()
        count += 1
    rate = count / (perf_counter() - started)
    frames = CAPACITY * SIDE * SIDE
    return {
        "replay": variant,
        "tensors / frames": round(sum(replay.sizes.values()) / frames, 3),
        "own memory / frames": round(grown["RssAnon"] / frames, 3),
        "file's pages / frames": round(grown["RssFile"] / frames, 3),
        "minibatches/s": round(rate),
        "env steps/s taken": round(turns * ENVS * TURN / seconds),
    }


def _with_errors(minibatch: Any) -> Any:
    minibatch.steps["td_error"] = minibatch.steps["next", "reward"]
    return minibatch


def main() -> None:
    """Print one line for each variant; with ``--json``, write all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)  # measure one variant in this process
    arguments = parser.parse_args()
    if arguments.variant:
        with tempfile.TemporaryDirectory() as folder:
            sys.stdout.write(json.dumps(measure(arguments.variant, Path(folder))))
        return
    figures = []
    for variant in VARIANTS:
        command = [sys.executable, __file__, "--variant", variant]
        figures.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        sys.stdout.write("  ".join(f"{name} {value}" for name, value in figures[-1].items()) + "\n")
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
