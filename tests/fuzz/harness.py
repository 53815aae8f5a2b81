"""Calls the command line with one bad input, as a user would, and checks the outcome against what jepakit promises."""

from __future__ import annotations

import gc
import importlib
import io
import os
import pkgutil
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

SECONDS = 60  #: of CPU time; an input that takes longer is a hang
WAITING = 300  #: seconds of wall-clock time, enough on a busy machine
MESSAGE_BYTES = 40_000  #: nobody reads a longer message
MEMORY = 8 << 30  #: bytes of address space


class Input(NamedTuple):
    """A call of the command line. Its files are in the current folder."""

    args: list[str]
    named: tuple[str, ...]  #: an error message must contain one of these, a ``line:column:`` or a ``--set #n:``


class Outcome(NamedTuple):
    """The exit code, output and duration of a call."""

    code: int  #: 124 if it took too long
    text: str  #: of both streams
    seconds: float


class Hang(KeyboardInterrupt):
    """The input took too long. Code that swallows this exception would also swallow a user's Ctrl-C."""


def prepare() -> None:
    """Prepare this process for many calls: everything is imported, one thread, no core dumps, hangs are interrupted."""
    import torch
    from typer.main import get_command

    import jepakit
    from jepakit import registry
    from jepakit.cli import app, validate

    for module in pkgutil.walk_packages(jepakit.__path__, "jepakit."):
        if not module.name.endswith("__main__") and ".templates" not in module.name and ".testing" not in module.name:
            importlib.import_module(module.name)
    registry.load_builtins()
    torch.set_num_threads(1)
    validate.PATIENCE = 10
    installed = metadata.entry_points
    metadata.entry_points = cache(lambda group: installed(group=group))  # type: ignore[assignment]  # also looked up only once
    app.app = get_command(app.app)  # type: ignore[assignment]  # built once rather than at every call
    gc.freeze()  # a child copies only the memory that it changes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _hang)
    signal.signal(signal.SIGVTALRM, _hang)


def _hang(*_: Any) -> None:
    traceback.print_stack()  # shows where it hangs
    raise Hang


def limit_memory() -> None:
    """Limit the address space, so that an absurd size fails here as on a smaller machine."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@contextmanager
def _streams() -> Iterator[io.BytesIO]:
    """Capture both output streams, with the encodings that Python uses in a terminal."""
    before = sys.stdout, sys.stderr
    buffer = io.BytesIO()
    sys.stdout = io.TextIOWrapper(buffer, "utf-8", errors="strict", write_through=True)
    sys.stderr = io.TextIOWrapper(buffer, "utf-8", errors="backslashreplace", write_through=True)
    try:
        yield buffer
    finally:
        wrappers = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = before
        for wrapper in wrappers:
            wrapper.detach()


def call(args: list[str]) -> Outcome:
    """Call ``jepakit`` in this process."""
    from jepakit.cli.app import main

    sys.argv = ["jepakit", *args]
    started = time.perf_counter()
    code: Any = 0
    with _streams() as buffer, warnings.catch_warnings():
        warnings.simplefilter("always")
        formatwarning = warnings.formatwarning
        signal.alarm(WAITING)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            hung = not signal.alarm(0) or not any(signal.setitimer(signal.ITIMER_VIRTUAL, 0))
            warnings.formatwarning = formatwarning
    seconds = round(time.perf_counter() - started, 3)
    code = 124 if hung else code if isinstance(code, int) else int(code is not None)
    return Outcome(code, buffer.getvalue().decode("utf-8", "replace"), seconds)


PLACE = re.compile(r":\d+:\d+: |^(--set|--over) #\d+: |^--seeds?\b|^--threshold\b", re.MULTILINE)
USAGE = "Usage: jepakit"  # Typer's own message, which names the option


def complaint(given: Input, got: Outcome) -> str | None:
    """What is wrong with an outcome, or None."""
    if got.code == 124:
        return f"hang: more than {SECONDS} s of CPU time, or {WAITING} s of wall-clock time"
    if got.code not in (0, 2):
        return f"exit code {got.code}"
    if "Traceback (most recent call last)" in got.text:
        return "a traceback"
    if not all(char.isprintable() or char in "\n\t" for char in got.text):
        return "characters that a terminal would act on"
    if len(got.text) > MESSAGE_BYTES and got.code:
        return f"a message of {len(got.text):,} characters"
    if got.code == 2 and USAGE not in got.text and not PLACE.search(got.text) and not any(name in got.text for name in given.named):
        return "a message that names no place"
    return None


def is_bad(got: Outcome) -> bool:
    """Whether the input was refused, or accepted with a warning. After some mutations an input is still valid."""
    return got.code != 0 or "warning: " in got.text


def remove(folder: Path) -> None:
    """Remove everything that an input left in ``folder``."""
    for path, below, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))  # noqa: PTH108, PTH118
        for name in below:
            entry = os.path.join(path, name)  # noqa: PTH118
            os.unlink(entry) if os.path.islink(entry) else os.rmdir(entry)  # noqa: PTH106, PTH108, PTH114
