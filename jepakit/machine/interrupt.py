"""Ctrl-C and SIGTERM: the first asks the run to end after this update round, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful_stop(notify: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether a stop was asked for.

    Args:
        notify: Told in a line, once, that the request was heard.

    Raises:
        KeyboardInterrupt: At the second signal.
    """
    requested = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        notify(f"{signal.Signals(number).name}: finishing this batch, then saving; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set  # signals reach the main thread alone
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
