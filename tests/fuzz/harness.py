"""One bad input: the command line called with it as a user would, and what a user got back held against what is promised."""

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

SECONDS = 60  #: of computing; an input that takes longer is a hang
WAITING = 300  #: seconds in all, on a machine that is busy with other things
MESSAGE_BYTES = 40_000  #: a longer message nobody reads
MEMORY = 8 << 30  #: bytes of address space


class Input(NamedTuple):
    """A call of the command line, made of files that lie in the current folder."""

    args: list[str]
    named: tuple[str, ...]  #: of which a message has to hold one, besides a ``line:column:`` and ``--set #n:``


class Outcome(NamedTuple):
    """What a user gets back."""

    code: int  #: 124: it took too long
    text: str  #: both streams
    seconds: float


class Hang(KeyboardInterrupt):
    """The input took too long; what swallows that would swallow a user's Ctrl-C, too."""


def prepare() -> None:
    """Set this process up to be called many times: imports done, one thread, no memory to swallow the machine."""
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
    metadata.entry_points = cache(lambda group: installed(group=group))  # type: ignore[assignment]  # looked for once, too
    app.app = get_command(app.app)  # type: ignore[assignment]  # made once rather than at every call
    gc.freeze()  # what a child does not touch, it does not copy
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _hang)
    signal.signal(signal.SIGVTALRM, _hang)


def _hang(*_: Any) -> None:
    traceback.print_stack()  # where it hangs
    raise Hang


def limit_memory() -> None:
    """So that an absurd size fails here, as it would on a smaller machine."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@contextmanager
def _streams() -> Iterator[io.BytesIO]:
    """Both output streams with the encodings that Python gives them in a terminal."""
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
    """What is wrong with an outcome; None: nothing."""
    if got.code == 124:
        return f"hang: more than {SECONDS} s of computing, or {WAITING} s in all"
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
    """Whether the input was refused, or taken with a warning; a mutation may also leave what is right, right."""
    return got.code != 0 or "warning: " in got.text


def remove(folder: Path) -> None:
    """Remove what an input left, whatever its modes."""
    for path, below, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))  # noqa: PTH108, PTH118
        for name in below:
            entry = os.path.join(path, name)  # noqa: PTH118
            os.unlink(entry) if os.path.islink(entry) else os.rmdir(entry)  # noqa: PTH106, PTH108, PTH114
