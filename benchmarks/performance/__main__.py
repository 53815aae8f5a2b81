"""`make bench`: jepakit beside its peers and its targets, in turn on this machine. Renews docs/performance.md and its figures.

    python -m benchmarks.performance                       # everything, half an hour on 2 idle cores
    python -m benchmarks.performance --quick               # some minutes, far too short to judge: prints, and keeps the page as it is
    python -m benchmarks.performance peers --threads 1 --json build/one_thread.json
    python -m benchmarks.performance solve --recipe cartpole_fast

A part that is not asked for keeps its earlier figures. The machine should be otherwise idle.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.contests import CONTESTS, play
from benchmarks.performance import encoder, page, startup
from benchmarks.performance.machine import described
from benchmarks.solve import SEEDS, solve_all
from benchmarks.tables import filled

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "results" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
QUICK = ROOT / "build" / "performance-quick.json"
PARTS = ("peers", "solve", "seeds", "validate", "encoder")


def tell(line: str) -> None:
    """Show how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def measured(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one part."""
    rounds = 1 if options.quick else options.rounds
    if part == "peers":
        contests = ("ppo_40x60", "dqn_40x60") if options.quick else tuple(CONTESTS)
        return {"contests": play(contests, rounds, tell, threads=options.threads, seconds=1.0 if options.quick else options.seconds)}
    if part == "solve":
        overrides = ["total_steps=2000"] if options.quick else []
        return solve_all(options.recipe, SEEDS[:1] if options.quick else SEEDS, 2 if options.quick else 50, tell, overrides)
    if part == "seeds":
        return startup.seeds(min(2, rounds), 1_000 if options.quick else 10_000, tell, SEEDS[:2] if options.quick else SEEDS)
    if part == "validate":
        return startup.validation(rounds, tell)
    return encoder.encoding(rounds, encoder.RECIPES[:rounds], encoder.THREADS[:rounds], tell)


def main() -> None:
    """Measure, write the figures after each part, and renew the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help=f"one short round, written to {QUICK.relative_to(ROOT)}")
    parser.add_argument("--threads", type=int, default=2, help="of torch, in every contestant")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="timed of each contestant in a round, at least")
    parser.add_argument("--recipe", default="cartpole_fast", help="that is to solve Cart Pole")
    parser.add_argument("--json", type=Path, help="write the figures there, and leave the page as it is")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    path = options.json or (QUICK if options.quick else FIGURES)
    path.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() and not options.quick else {}
    for part in options.parts or PARTS:
        found[part] = {"machine": described(), "quick": options.quick, **measured(part, options)}
        path.write_text(json.dumps(found, indent=1) + "\n")
    for each in (page.targets, page.peers, page.solve, page.encoder):
        tell(f"\n{each(found)}")
    tell(f"\nwritten to {path}")
    if path == FIGURES:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), page.tables(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
