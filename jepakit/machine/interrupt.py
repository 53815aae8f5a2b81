"""Ctrl-C and SIGTERM: the first signal ends a run after the current batch, the second immediately; elsewhere Ctrl-C is noticed."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def graceful_stop(notify: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stop was requested.

    Args:
        notify: Called once with a line that acknowledges the request.

    Raises:
        KeyboardInterrupt: At the second signal.
    """
    requested = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        _heed_no_parent()
        notify(f"{signal.Signals(number).name}: finishing this batch, then saving; repeat to stop immediately")

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set  # only the main thread can handle signals
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
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
