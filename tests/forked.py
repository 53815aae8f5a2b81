"""Processes that start in milliseconds: forks of one server that has imported everything, which takes seconds, but has used none of it."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple

import jepakit.components


class Outcome(NamedTuple):
    """The exit code and the two output streams of a call."""

    code: int
    out: str
    err: str


def server() -> ForkServerContext:
    """The fork server; one serves a whole test process."""
    context = multiprocessing.get_context("forkserver")
    components = [module.name for module in pkgutil.walk_packages(jepakit.components.__path__, "jepakit.components.")]
    context.set_forkserver_preload(["jepakit.training.run", "jepakit.agent.evaluate", "jepakit.cli.app", *components])
    return context


def jepakit_process(*args: str, cwd: Path, timeout: float = 60) -> Outcome:
    """Call ``jepakit`` as a process of its own with piped output, and wait for its end."""
    return forked(_main, list(args), cwd=cwd, timeout=timeout)


def forked(target: Callable[..., None], *args: Any, cwd: Path, timeout: float = 60) -> Outcome:
    """Call a function in a process of its own, in folder ``cwd``; what it prints goes to files, and comes back as text."""
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder) / name for name in ("out", "err")]
        process = server().Process(target=_redirected, args=(target, args, cwd, dict(os.environ), printed))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{target.__name__}{args} took more than {timeout} s")
        return Outcome(process.exitcode, *(path.read_text(encoding="utf-8") for path in printed))


class ForkedRun:
    """A sweep's run in a fork, with the methods of ``subprocess.Popen`` that a sweep needs."""

    def __init__(self, words: Sequence[str], log: Path, *_: object) -> None:
        self.process = server().Process(target=_redirected, args=(_main, [list(words)], Path.cwd(), dict(os.environ), [log, log]))
        self.process.start()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.exitcode

    def wait(self) -> None:
        """Wait for its end."""
        self.process.join()

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid
        os.kill(self.process.pid, number)


def _redirected(
    target: Callable[..., None], args: Sequence[Any], cwd: Path, environment: Mapping[str, str], printed: Sequence[Path]
) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    for number, path in zip((1, 2), printed, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    try:
        target(*args)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def _main(args: list[str]) -> None:
    from jepakit.cli.app import main

    sys.argv = ["jepakit", *args]
    main()
