"""Fails if the main recipe became slower beside a workload that does not change, measured in turn with it in the same minute.

    python -m benchmarks.guard            # a minute; exit code 1 if slower in three tries
    python -m benchmarks.guard --renew    # after a change that is meant: write the ratio of today

The workload is the CleanRL-style PPO of `benchmarks/peers`, which uses nothing of jepakit: Gymnasium's drawing, torch's convolutions,
backward passes and Adam. A slower or busier machine slows both. No absolute time decides. Both run on one thread, the steadier on a busy
machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.peers.contests import Contest, in_turn, peer
from benchmarks.peers.ours import measure
from benchmarks.peers.settings import Settings
from benchmarks.performance.ratios import Ratio, ratio

COMMITTED = Path(__file__).parent / "guard.json"
FALL = 0.25  #: of the committed ratio that is let pass
TRIES = 3
ROUNDS = 3


def is_slower(measured: float, committed: float) -> bool:
    """Whether a ratio has fallen by more than `FALL`."""
    return measured < (1 - FALL) * committed


def best_of(tries: int, committed: float, measured: Callable[[], float]) -> float:
    """The first ratio that passes, or else the largest of ``tries``."""
    best = 0.0
    for _ in range(tries):
        best = max(best, measured())
        if not is_slower(best, committed):
            break
    return best


def measured_ratio() -> Ratio:
    """Env steps a second of the main recipe over the reference's."""
    contestants = {
        "jepakit": partial(measure, recipe="cartpole_pixels"),
        "the reference": partial(peer, "cleanrl_ppo", drawing="gymnasium"),
    }
    contest = Contest("guard", Settings(threads=1, seconds=4.0), contestants)
    rounds = in_turn(contest, ROUNDS, lambda line: sys.stdout.write(f"{line}\n"))["rounds"]
    ours, reference = ([each[name]["steps_per_second"] for each in rounds] for name in contestants)
    return ratio(ours, reference)


def main() -> None:
    """Measure, then judge or renew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help=f"write the ratio to {COMMITTED.name} instead of judging it")
    if parser.parse_args().renew:
        found = measured_ratio()
        COMMITTED.write_text(json.dumps({"ratio": round(found.median, 3)}, indent=1) + "\n")
        sys.stdout.write(f"the ratio is {found}; written to {COMMITTED}\n")
        return
    committed = json.loads(COMMITTED.read_text())["ratio"]
    best = best_of(TRIES, committed, lambda: measured_ratio().median)
    sys.stdout.write(f"the main recipe runs at {best:.2f} times the reference's speed; committed is {committed:.2f}\n")
    if is_slower(best, committed):
        sys.exit(f"that is more than {FALL:.0%} slower: mend it, or, if it is meant, python -m benchmarks.guard --renew")


if __name__ == "__main__":
    main()
