"""Measures how fast the main recipe runs, where the time goes, and the gain from each of the encoder's optimisations.

    python benchmarks/throughput.py            # both parts, some four minutes on 2 cores
    python benchmarks/throughput.py --json docs/results/throughput.json

Each figure comes from its own process. The machine should be otherwise idle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

STEPS = 5_000
BATCH = 64
SPIN = "2000"  #: the value that `jepakit` sets


def start_run(out: Path, threads: int, precision: str, spin: str) -> subprocess.Popen[bytes]:
    """Start the main recipe in its own process, whose OpenMP threads spin ``spin`` times before they sleep."""
    settings = (f"total_steps={STEPS}", f"threads={threads}", f"precision={precision}")
    command = [sys.executable, "-m", "jepakit", "run", "cartpole_pixels", "--quiet", "--out", str(out)]
    command += [word for setting in settings for word in ("--set", setting)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"GOMP_SPINCOUNT": spin})


def measure_run(threads: int, precision: str = "fp32", at_once: int = 1, spin: str = SPIN) -> dict[str, Any]:
    """Env steps/s of the main recipe, total and by part, in one of ``at_once`` parallel runs. Skips the first batch as a warm-up."""
    with tempfile.TemporaryDirectory() as scratch:
        outs = [Path(scratch) / str(number) for number in range(at_once)]
        for process in [start_run(out, threads, precision, spin) for out in outs]:
            if process.wait():
                raise SystemExit("the run failed")
        records = [json.loads(line) for line in (outs[0] / "metrics.jsonl").read_text().splitlines()]
    batches = [record for record in records if record["phase"] == "train"]
    steps = batches[1]["env_steps"] - batches[0]["env_steps"]
    seconds = {part: fmean(record[f"time/{part}"] for record in batches[1:]) for part in ("env", "policy", "learner", "batch")}
    settings = {"runs at once": at_once, "threads": threads, "precision": precision, "spin": spin}
    return settings | {f"{part} steps/s": round(steps / s) for part, s in seconds.items()}


def measure_encoder(variant: str) -> dict[str, Any]:
    """Samples/s of the default ViT, forward and backward, at minibatch 64 on one thread, in this process."""
    import torch

    from jepakit.components.encoders import transformer, vit
    from jepakit.machine.hardware import keep_freed_memory
    from jepakit.protocols import FrameShape

    torch.set_num_threads(1)
    if variant != "memory handed back":
        keep_freed_memory()
    encoder = vit.ViT(FrameShape(3, 1, 80, 120))
    if variant == "all rows in the last block":
        encoder.read = slice(None)
        encoder.norm.register_forward_hook(lambda module, inputs, output: output[:, :1])
    if variant == "fused attention":
        transformer.attention = torch.nn.functional.scaled_dot_product_attention
    pixels = torch.randint(200, 256, (BATCH, 3, 1, 80, 120), dtype=torch.uint8)

    def both() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=variant != "fp32"):
            s_x = encoder(pixels)
        s_x.float().square().sum().backward()

    def forward() -> None:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=variant != "fp32"):
            encoder(pixels)

    return {"encoder": variant, "forward + backward samples/s": rate(both), "forward samples/s": rate(forward)}


def rate(step: Callable[[], None], seconds: float = 3.0) -> int:
    """Samples/s of ``step`` on ``BATCH`` samples, after a warm-up."""
    for _ in range(5):
        step()
    start, count = perf_counter(), 0
    while perf_counter() - start < seconds:
        step()
        count += 1
    return round(BATCH * count / (perf_counter() - start))


VARIANTS = ("as shipped", "memory handed back", "all rows in the last block", "fused attention", "fp32")


def main() -> None:
    """Print one line for each measurement; with ``--json``, write all figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--encoder", choices=VARIANTS, help=argparse.SUPPRESS)  # measure one variant in this process
    arguments = parser.parse_args()
    if arguments.encoder:
        sys.stdout.write(json.dumps(measure_encoder(arguments.encoder)))
        return
    figures: list[dict[str, Any]] = []

    def keep(figure: dict[str, Any]) -> None:
        figures.append(figure)
        sys.stdout.write("  ".join(f"{name} {value}" for name, value in figure.items()) + "\n")
        sys.stdout.flush()

    for variant in VARIANTS:
        keep(json.loads(subprocess.run([sys.executable, __file__, "--encoder", variant], check=True, capture_output=True).stdout))
    cores = min(2, os.cpu_count() or 1)
    keep(measure_run(cores))
    keep(measure_run(1))
    keep(measure_run(cores, precision="bf16"))
    keep(measure_run(cores, spin="300000"))  # GNU OpenMP's default
    keep(measure_run(1, at_once=2))
    keep(measure_run(cores, at_once=2))
    keep(measure_run(cores, at_once=2, spin="300000"))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
