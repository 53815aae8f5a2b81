"""What every contestant is told, on its command line, and what it answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The work of one contest: the same for all its contestants."""

    height: int = 40  #: of a frame
    width: int = 60
    envs: int = 8  #: simulators
    steps: int = 125  #: of each simulator in a batch
    epochs: int = 4  #: over a batch; on-policy only
    minibatch: int = 64  #: rows
    updates: int = 40  #: after a batch; from replay only
    learning_starts: int = 1_000  #: env steps; from replay only
    threads: int = 2  #: of torch
    drawing: str = "jepakit"  #: whose: jepakit's packed canvas, or `gymnasium`'s own, which is slower; the frames are equal
    seconds: float = 8.0  #: timed after the first batch that learned, at least
    batches: int = 2  #: timed, at least

    @property
    def batch(self) -> int:
        """Env steps in a batch."""
        return self.envs * self.steps

    def words(self) -> list[str]:
        """As words of a command line."""
        return [word for name, value in asdict(self).items() for word in (f"--{name}", str(value))]


class Clock:
    """Times batches, without the first, which makes what the others use.

    Args:
        settings: Say how long.
        env_seconds: The wall-clock seconds in the env up to now; None where they cannot be told.
    """

    def __init__(self, settings: Settings, env_seconds: Callable[[], float] | None = None) -> None:
        self.settings = settings
        self.env_seconds = env_seconds or (lambda: 0.0)
        self.knows_env = env_seconds is not None
        self.marks: list[tuple[float, float]] = []

    def batch_is_done(self) -> bool:
        """To be called after each batch that learned; whether enough was timed."""
        self.marks.append((perf_counter(), self.env_seconds()))
        return self.timed > self.settings.batches and self.seconds >= self.settings.seconds

    @property
    def timed(self) -> int:
        """Batches timed so far."""
        return len(self.marks) - 1

    @property
    def seconds(self) -> float:
        """Seconds timed so far."""
        return self.marks[-1][0] - self.marks[0][0]

    def figures(self) -> dict[str, Any]:
        """Env steps a second, and the env's share of the time."""
        share = {"env": round((self.marks[-1][1] - self.marks[0][1]) / self.seconds, 3)} if self.knows_env else {}
        return {"steps_per_second": round(self.timed * self.settings.batch / self.seconds, 1), "batches": self.timed, "shares": share}


def answer(contestant: Callable[[Settings], dict[str, Any]], description: str | None) -> None:
    """Run a contestant with the settings of the command line; print its figures as JSON."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for field in fields(Settings):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    sys.stdout.write(json.dumps(contestant(Settings(**vars(parser.parse_args())))) + "\n")
