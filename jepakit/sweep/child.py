"""A run as a child process: a terminal's Ctrl-C does not reach it, and it ends with its parent."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def start_run(recipe: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``jepakit run``.

    Args:
        recipe: The resolved recipe.
        out: The run's folder.
        log: The file for everything that the process prints.
    """
    return _start(["run", str(recipe), "--out", str(out), "--quiet"], log)


def resume_run(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``jepakit resume``, trusting the folder: its plug-ins were checked against the sweep's."""
    return _start(["resume", str(folder), "--trust", "--quiet"], log)


def _start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    # `-P`: plain `-m` would import a jepakit or a statistics.py from the current folder, which the `jepakit` script does not
    isolated = [] if {"", str(Path.cwd())}.intersection(sys.path) else ["-P"]
    command = [sys.executable, *isolated, "-m", "jepakit", *words]
    with log.open("wb") as printed:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the parent, which passes it on once
            preexec_fn=_die_with_parent(),
        )


def _die_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel sends SIGTERM to the run when its parent is killed, and the run saves; elsewhere the run continues to its end."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, after which little is safe
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def why_it_ended(code: int, log: Path) -> str:
    """Explain a failed process from its exit code and its last line of output."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    if code == 2:
        return said  # a user's mistake, whose message may have several lines
    return said.splitlines()[-1] if said else f"exit code {code}"
