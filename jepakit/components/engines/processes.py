"""A ``jepakit`` command as a child process: a terminal's Ctrl-C does not reach it, and it ends with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def jepakit_command(words: Sequence[str]) -> list[str]:
    """The command line of ``jepakit WORDS…`` with this process's Python."""
    # `-P`: plain `-m` would import a jepakit or a statistics.py from the current folder, which the `jepakit` script does not
    isolated = [] if {"", str(Path.cwd())}.intersection(sys.path) else ["-P"]
    return [sys.executable, *isolated, "-m", "jepakit", *words]


def start_process(
    words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, deaf_to: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start ``jepakit WORDS…``.

    Args:
        words: What stands after ``jepakit`` on the command line.
        log: The file for everything that the process prints; it is written anew.
        environment: Variables beside those of this process.
        deaf_to: Signals that the process ignores.
    """
    with log.open("wb") as printed:
        return subprocess.Popen(
            jepakit_command(words),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment} if environment else None,
            start_new_session=True,  # Ctrl-C is for the parent, which passes it on once
            preexec_fn=_before_start(deaf_to),
        )


def _before_start(deaf_to: Sequence[int]) -> Callable[[], None]:
    """On Linux the kernel sends SIGTERM to the run when its parent is killed, and the run saves; elsewhere the run continues to its end."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before the fork, after which little is safe

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray's workers block SIGINT, and a child would inherit that
        if prctl:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        for number in deaf_to:
            signal.signal(number, signal.SIG_IGN)

    return prepare


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
