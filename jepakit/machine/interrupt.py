"""Ctrl-C, SIGTERM and SIGHUP: the first request ends a run after the current batch, the second immediately; elsewhere Ctrl-C is noticed."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 30.0  #: seconds in which several signals are one request, except a second Ctrl-C
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def graceful_stop(notify: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stop was requested.

    A scheduler signals all processes of a job, and a parent then passes on what it got. So within `PATIENCE` only a second SIGINT is a
    second request: it is a keyboard's.

    Args:
        notify: Called once with a line that acknowledges the request.

    Raises:
        KeyboardInterrupt: At the second request.
    """
    requested = threading.Event()
    seen: set[int] = set()
    since = 0.0

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal since
        again = number in seen and number == signal.SIGINT
        seen.add(number)
        if not requested.is_set():
            requested.set()
            since = time.monotonic()
            _heed_no_parent()
            repeat = "repeat" if number == signal.SIGINT else f"repeat after {PATIENCE:.0f} s"
            notify(f"{signal.Signals(number).name}: finishing this batch, then saving; {repeat} to stop immediately")
        elif again or time.monotonic() - since >= PATIENCE:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set  # only the main thread can handle signals
        return
    hung_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else []  # `nohup` ignores it
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, *hung_up)}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heed_no_parent() -> None:
    """Ask for no more signals at a parent's death: the kernel would send one for each parent that follows, and the second stops at once."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed, which raises `KeyboardInterrupt` as ever.

    Code in C that calls Python may turn that exception into another.
    """
    pressed = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not in the background of a script
    if not heeded or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
