"""Trains a recipe in its own process until enough of it is timed, then ends it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jepakit.storage.mirror import Tail

PAUSE = 0.25  #: seconds between two looks at a run's records


class TimedRun(NamedTuple):
    """What a run left until it was ended."""

    learned: list[dict[str, Any]]  #: the train records of the batches that learned; the first makes what the others use
    peak_mb: int  #: memory
    provenance: dict[str, Any]


def timed_run(
    words: Sequence[str],
    is_enough: Callable[[list[dict[str, Any]]], bool],
    environment: Mapping[str, str] | None = None,
    patience: float = math.inf,
) -> TimedRun:
    """Start `jepakit run WORDS` and end it as soon as ``is_enough`` says so of its records.

    Args:
        words: A recipe and its options.
        is_enough: Asked with the records of the batches that learned.
        environment: Further variables of the process.
        patience: Seconds until a run without enough records counts as stuck.

    Raises:
        SystemExit: The run ended, or was stuck, before enough of it was timed.
    """
    until = time.monotonic() + patience
    learned: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        command = [sys.executable, "-W", "ignore", "-m", "jepakit", "run", *words, "--quiet", "--out", str(run)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | dict(environment or {}))
        records = Tail(run / "metrics.jsonl")
        try:
            while not is_enough(learned):
                over = process.poll() is not None or time.monotonic() > until  # before the records are read, so that none is missed
                learned += [record for record in records.read() if record["phase"] == "train" and record["updates"]]
                if over and not is_enough(learned):
                    sys.exit(f"the run ended before enough of it was timed: {' '.join(command)}")
                time.sleep(PAUSE)
        finally:
            process.kill()
            memory = peak_mb(process)
        return TimedRun(learned, memory, json.loads((run / "provenance.json").read_text()))


def peak_mb(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, and tell its peak memory (0 if it was waited for before)."""
    if process.returncode is not None:
        return 0
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return round(used.ru_maxrss / 1024)
