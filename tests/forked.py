"""Processes that start in milliseconds: forks of one server that has imported everything, which takes seconds, but has used none of it."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import socket
import sys
import tempfile
import time
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


def on_ranks(target: Callable[..., None], *args: Any, cwd: Path, size: int = 2, timeout: float = 100) -> list[Outcome]:
    """Call a function in ``size`` processes at once, which see the variables that torchrun would set; their outcomes by rank."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        count = str(size)
        shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        printed = [[Path(folder) / f"{name}{rank}" for name in ("out", "err")] for rank in range(size)]
        processes = []
        for rank in range(size):
            environment = dict(os.environ) | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(server().Process(target=_redirected, args=(target, args, cwd, environment, printed[rank])))
            processes[-1].start()
        until = time.monotonic() + timeout
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
        hung = [rank for rank, process in enumerate(processes) if process.exitcode is None]
        for process in processes:
            process.kill()
            process.join()
        outcomes = [
            Outcome(int(process.exitcode or 0), *(path.read_text() for path in paths))
            for process, paths in zip(processes, printed, strict=True)
        ]
        if hung:
            raise TimeoutError(f"ranks {hung} took more than {timeout} s: {[outcome.err[-2000:] for outcome in outcomes]}")
        return outcomes


def jepakit_on_ranks(*args: str, cwd: Path, size: int = 2) -> list[Outcome]:
    """Call ``jepakit`` as torchrun would, in ``size`` processes."""
    return on_ranks(_main, list(args), cwd=cwd, size=size)


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
