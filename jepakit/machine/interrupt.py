"""Ctrl-C, SIGTERM and SIGHUP: the first request ends a run after the current batch, the second at once; elsewhere they end a command."""

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
    hung_up = [] if signal.getsignal(signal.SIGHUP) in (signal.SIG_IGN, None) else [signal.SIGHUP]  # `nohup` ignores it
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
    """Yield a function that returns whether Ctrl-C, SIGTERM or SIGHUP came. Each raises `KeyboardInterrupt`: nothing partial is left.

    Code in C that calls Python may turn that exception into another.
    """
    came = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        came.set()
        signal.default_int_handler(number, frame)

    heeded = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: handler for number, handler in heeded.items() if signal.getsignal(number) == handler}  # others are ignored on purpose
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set
        return
    for number in before:
        signal.signal(number, handle)
    try:
        yield came.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
