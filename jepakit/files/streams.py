"""Standard streams that the caller has closed, or that lead to a full disk or to a terminal that is gone."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO, cast


def open_closed() -> None:
    """Open each standard stream that the caller has closed, and drop what it gets: else the next file opened would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))  # the lowest free number, which is the stream's own


def drop_unwritten(*streams: TextIO) -> None:
    """Drop what the streams still hold and cannot write: at its end Python would try again, and change the exit code."""
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def lossy(stream: TextIO) -> TextIO:
    """``stream``, dropping what cannot be written: a run outlives its terminal and the room for its log."""
    return cast(TextIO, _Lossy(stream))


class _Lossy:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
