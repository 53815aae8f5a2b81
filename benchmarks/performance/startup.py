"""What a start costs, and what five seeds cost: ratios, in turn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

MAIN = "cartpole_pixels"


def seconds_of(*words: str) -> float:
    """Wall-clock of one Python process, from its start to its end."""
    started = perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return round(perf_counter() - started, 2)


def validation(rounds: int, tell: Callable[[str], object]) -> dict[str, Any]:
    """`jepakit validate` of the main recipe against the imports of torch and torchrl, after one try each that fills the disk's cache."""
    commands = {"validate": ("-m", "jepakit", "validate", MAIN), "imports": ("-c", "import torch, torchrl")}
    for words in commands.values():
        seconds_of(*words)
    played = [{name: seconds_of(*words) for name, words in commands.items()} for _ in range(rounds)]
    tell(f"jepakit validate {played[-1]['validate']} s, import torch, torchrl {played[-1]['imports']} s")
    return {"recipe": MAIN, "rounds": played}


def seeds(rounds: int, steps: int, tell: Callable[[str], object], several: Sequence[int] = (100, 101, 102, 103, 104)) -> dict[str, Any]:
    """One run on two threads against several seeds by `jepakit ablate --jobs auto`."""
    shorter = ("--set", f"total_steps={steps}")
    played = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            one = seconds_of("-m", "jepakit", "run", MAIN, *shorter, "--set", "threads=2", "--quiet", "--out", str(Path(folder) / "one"))
            words = ("--seeds", ",".join(map(str, several)), "--jobs", "auto", "--out", str(Path(folder) / "all"))
            all_of_them = seconds_of("-m", "jepakit", "ablate", MAIN, *shorter, *words)
        played.append({"one": one, "all": all_of_them})
        tell(f"one run {one} s, {len(several)} seeds {all_of_them} s")
    return {"recipe": MAIN, "total_steps": steps, "seeds": list(several), "rounds": played}
