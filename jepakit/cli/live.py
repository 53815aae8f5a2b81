"""A full-screen view that refreshes itself, and its keys."""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.live import Live

from jepakit.report.live.board import Board
from jepakit.report.live.view import picture

HINT = "q quits, ↑ ↓ or j k scroll"
#: Keys, as a terminal sends them, and by how many runs each scrolls.
SCROLLS = {"j": 1, "k": -1, "\x1b[B": 1, "\x1b[A": -1, " ": 10, "\x1b[6~": 10, "\x1b[5~": -10}
_KEY = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|.", re.DOTALL)
QUIT = ("q", "Q", "\x03", "\x04")


def watch(board: Board, every: float, keyboard: TextIO) -> None:
    """Show the board until the user quits.

    Args:
        board: The runs.
        every: Seconds between two looks.
        keyboard: Where keys come from; if it is no terminal, only Ctrl-C quits.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    first = 0
    with contextlib.suppress(KeyboardInterrupt), _keys(keyboard) as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            runs = board.look()
            until = time.monotonic() + every
            while True:
                first = max(0, min(first, len(runs) - 1))
                live.update(picture(runs, console.width, console.height, first, HINT), refresh=True)
                key = pressed(until - time.monotonic())
                if key in QUIT:
                    return
                if not key:
                    break  # it is time to look again
                first += SCROLLS.get(key, 0)


class _Keys:
    """Reads a key, for at most so many seconds; "" if none was pressed."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        self.typed: list[str] = []  #: keys that came together

    def __call__(self, seconds: float) -> str:
        if self.descriptor is None:
            time.sleep(max(0.0, seconds))
            return ""
        if not self.typed and select.select([self.descriptor], [], [], max(0.0, seconds))[0]:
            read = os.read(self.descriptor, 1024)
            self.typed = _KEY.findall(read.decode(errors="replace")) if read else ["q"]  # nothing: the terminal has gone
        return self.typed.pop(0) if self.typed else ""


@contextlib.contextmanager
def _keys(keyboard: TextIO) -> Iterator[_Keys]:
    """Single keys without Enter; afterwards the terminal is as before."""
    if not keyboard.isatty():
        yield _Keys(None)
        return
    import termios
    import tty

    descriptor = keyboard.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield _Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
