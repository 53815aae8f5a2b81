"""Corrupts every file of a run's newest checkpoint, one at a time, and checks that a resume would notice and use the previous checkpoint.

    python benchmarks/damage.py --trials 200

The run uses replay, so there are files of frames, too. Each file is truncated at random places, and has one bit flipped at random places.
Prints a table. Exit code 1: some corruption went unnoticed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jepakit.storage.manifest import checkpoints, newest_whole
from jepakit.training.run import run

RUN = ("total_steps=600", "checkpoint_every=200", "algorithm.learning_starts=200", "env.num_envs=4", "replay.capacity=1000")


def cuts(content: bytes, trials: int, rng: random.Random) -> Iterator[bytes]:
    """``content``, truncated at random places."""
    for length in {0, len(content) - 1, *(rng.randrange(len(content)) for _ in range(trials))}:
        yield content[:length]


def flips(content: bytes, trials: int, rng: random.Random) -> Iterator[bytes]:
    """``content`` with one bit flipped, at random places."""
    places = range(len(content)) if len(content) <= trials else (rng.randrange(len(content)) for _ in range(trials))
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        yield bytes(changed)


def main() -> None:
    """Print one row for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="corruptions of each kind for each file")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random places")
    arguments = parser.parse_args()
    rng, unnoticed = random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = run("cartpole_dqn", overrides=RUN, out=Path(scratch) / "run", quiet=True).path
        before, newest = checkpoints(folder / "checkpoints")[-2:]
        frames = json.loads((newest / "state.json").read_text())["frames"]
        files = [*sorted(newest.iterdir()), folder / "replay" / frames[-1]["name"]]

        def used() -> Path | None:
            return newest_whole(folder / "checkpoints", lambda text: None, folder / "replay")

        sys.stdout.write("| file | bytes | cut short: noticed | a bit flipped: noticed | missing |\n|---|---|---|---|---|\n")
        for file in files:
            content, cells = file.read_bytes(), []
            for damage in (cuts, flips):
                noticed, harmless, tried = 0, 0, 0
                for changed in damage(content, arguments.trials, rng):
                    file.write_bytes(changed)
                    found = used()
                    tried += 1
                    noticed += found == before
                    harmless += found == newest and file.name == "manifest.json" and _says_the_same(content, changed)
                unnoticed += tried - noticed - harmless
                cells.append(
                    f"{noticed} of {tried}" + (f", {harmless} changed white space or the checksum's name alone" if harmless else "")
                )
            file.unlink()
            cells.append("noticed" if used() == before else "unnoticed")
            file.write_bytes(content)
            sys.stdout.write(f"| `{file.name}` | {len(content):,} | {' | '.join(cells)} |\n")
            sys.stdout.flush()
        assert used() == newest
    sys.exit(unnoticed > 0)


def _says_the_same(content: bytes, changed: bytes) -> bool:
    one, other = (json.loads(text) for text in (content, changed))
    return all(other.get(name) == value for name, value in one.items() if name != "checksum")


if __name__ == "__main__":
    main()
