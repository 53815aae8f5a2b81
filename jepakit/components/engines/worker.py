"""What an engine leaves at the place where a run runs: it starts the run as a process, and carries its files home if that is asked for."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jepakit.components.engines.processes import start_process
from jepakit.protocols import Job

Stamp = tuple[int, int]  #: a file's size and time of change
#: Files and folders of a run that are read first and last. A checkpoint says how long ``metrics.jsonl`` was, which must not arrive shorter.
FIRST, LAST = ("checkpoints", "replay"), ("events.jsonl", "metrics.jsonl", "summary.json")
NOT_CARRIED = ("lock",)


class News(NamedTuple):
    """What has changed since the last look."""

    code: int | None  #: the run's exit code; None while it runs
    files: dict[str, bytes]  #: changed files, by path: ``run/…`` or ``needs/…``, in the order in which they are to be written
    stamps: dict[str, Stamp]  #: of all files that are there now


class Worker:
    """One job at its place, in the worker's main thread: the kernel ends the run when that ends."""

    def __init__(self, job: Job, files: Mapping[str, bytes] | None = None) -> None:
        """Start the job.

        Args:
            job: The job.
            files: What it reads and continues from, by path; None if it shares the sweep's folder.
        """
        self.temporary = None if files is None else Path(tempfile.mkdtemp(prefix="jepakit-"))
        self.log, words = job.log, list(job.words)
        if self.temporary:
            self.places = {"needs": self.temporary / "needs", "run": self.temporary / "run"}
            self.places["needs"].mkdir()
            for path, content in (files or {}).items():
                write_file(self.temporary / path, content)
            moved = {str(job.folder): str(self.places["run"]), str(job.needs): str(self.places["needs"])}
            words = [_moved(word, moved) for word in words]
            self.log = self.places["needs"] / job.log.name
        self.process = start_process(words, self.log)

    def where(self) -> tuple[str, int]:
        """The machine's name, as a run writes it in its lock, and the run's process."""
        return platform.node(), self.process.pid

    def look(self, stamps: Mapping[str, Stamp], carry: bool) -> News:
        """The exit code; to carry home, and after the run's end, also the files that differ from ``stamps``."""
        code = self.process.poll()  # before the files, so that they are complete
        if not self.temporary or not (carry or code is not None):
            return News(code, {}, {})
        now = dict(self._stamps())
        files = {}
        for path, stamp in now.items():
            if stamps.get(path) != stamp:
                with contextlib.suppress(FileNotFoundError):  # an old checkpoint, just removed
                    files[path] = (self.temporary / path).read_bytes()
        return News(code, files, now)

    def stop(self) -> None:
        """Ask the run to save and stop."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the run at once."""
        self.process.kill()
        self.process.wait()

    def tidy(self) -> None:
        """Remove what lies in no shared folder."""
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)

    def _stamps(self) -> Iterator[tuple[str, Stamp]]:
        """The files, ordered so that none is older than one before it that it belongs to."""
        for path in _ordered(self.places["run"]):
            if path.name not in NOT_CARRIED:
                with contextlib.suppress(FileNotFoundError):
                    stat = path.stat()
                    yield str(Path("run", path.relative_to(self.places["run"]))), (stat.st_size, stat.st_mtime_ns)
        if self.log.exists():
            stat = self.log.stat()
            yield str(Path("needs", self.log.name)), (stat.st_size, stat.st_mtime_ns)


def read_files(job: Job) -> dict[str, bytes]:
    """What a worker without the sweep's folder needs: the job's own files, and those of the run if it is to be continued."""
    folders = {"needs": job.needs} | ({"run": job.folder} if job.words == job.again else {})
    found = {}
    for name, folder in folders.items():
        for path in _ordered(folder):
            if path.name not in NOT_CARRIED and path != job.log:
                found[str(Path(name, path.relative_to(folder)))] = path.read_bytes()
    return found


def write_home(job: Job, news: News) -> None:
    """Write what has changed into the run's folder, and remove what is gone: old checkpoints, and what a resume has cut."""
    homes = {"run": job.folder, "needs": job.needs}
    for path, content in news.files.items():
        top, *below = Path(path).parts
        write_file(homes[top].joinpath(*below), content)
    if news.stamps:
        for file in _ordered(job.folder):
            if str(Path("run", file.relative_to(job.folder))) not in news.stamps and file.name not in (*NOT_CARRIED, *LAST):
                file.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    file.parent.rmdir()  # if it is empty now


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, and nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)


def _ordered(folder: Path) -> list[Path]:
    """The files at and below a folder, in the order in which they are to be read and written; no links."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]

    def rank(path: Path) -> int:
        top = path.relative_to(folder).parts[0]
        return -1 if top in FIRST else 1 + LAST.index(top) if top in LAST else 0

    return sorted(found, key=rank)


def _moved(word: str, places: Mapping[str, str]) -> str:
    """A word of the command with the path of a folder replaced."""
    for old, new in places.items():
        if word == old or word.startswith(f"{old}{os.sep}"):
            return new + word[len(old) :]
    return word
