"""Executes the runs of a sweep as processes, several at a time. One run's failure does not affect the others."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile, rmtree

from jepakit.errors import UserError
from jepakit.machine.interrupt import graceful_stop
from jepakit.storage.folder import RunFolder, read_summary
from jepakit.storage.lock import is_locked
from jepakit.sweep.child import resume_run, start_run, why_it_ended
from jepakit.sweep.found import Found, find_run
from jepakit.sweep.plan import Plan, Planned, rehearse_runs
from jepakit.sweep.table import Board, board_for, figure, named
from jepakit.sweep.watched import RunState, Watched
from jepakit.training.run import ENDED_AS_MEANT

POLL_SECONDS = 0.25
LOOK_AGAIN_SECONDS = 2.0  #: between two checks of a run that another process holds


@dataclass(frozen=True, repr=False)
class Outcome:
    """The state of a planned run when the sweep ends."""

    planned: Planned
    state: RunState  #: ``waiting``: the sweep was interrupted before the run started
    path: Path  #: its folder or its record
    summary: dict[str, object]  #: the content of ``summary.json``; empty unless the run has finished
    fresh: bool  #: False if the run had finished before this sweep began
    error: str = ""  #: why it failed
    log: Path | None = None  #: a failed run's traceback, or else its output

    def __repr__(self) -> str:
        """One line: a planned run holds its whole recipe."""
        value = self.summary.get("return_last_100")
        more = f", return {figure(value)}" if isinstance(value, float) else f", {self.error}" if self.error else ""
        return f"<{self.planned.label!r} seed {self.planned.seed}: {self.state}{more}, {self.path}>"


def run_plan(plan: Plan, root: Path, jobs: int, recorded: Sequence[Path] = (), quiet: bool = False) -> list[Outcome]:
    """Start new runs and resume unfinished ones in ``root/<name>/<id>``, beginning with the first seed of every configuration.

    Args:
        plan: The runs.
        root: The folder of all runs, as for ``jepakit run``.
        jobs: Runs at a time.
        recorded: Folders of records; the runs recorded there count as finished.
        quiet: Show only warnings.

    Raises:
        UserError: A configuration does not fit together, or a run's folder holds something else; nothing was started.
    """
    runs = [Watched.of(planned, find_run(planned, root / plan.name / planned.id, recorded)) for planned in plan.runs]
    waiting = [run for run in runs if run.state == "waiting" or (run.state == "elsewhere" and is_locked(run.path, here=True))]
    rehearse_runs(run.planned for run in waiting)
    if waiting:
        _make(root / plan.name)
    with tempfile.TemporaryDirectory(prefix="jepakit-") as scratch, board_for(plan.name, runs, quiet=quiet) as board:
        for run in waiting:  # written now, so that editing the recipe during the sweep changes nothing
            folder = RunFolder(Path(scratch) / run.planned.id)
            folder.path.mkdir()
            folder.write_recipe(run.planned.recipe)
        _Engine(_by_seed(waiting), jobs, Path(scratch), board, recorded).run()
    return [Outcome(run.planned, run.state, run.path, run.summary, run.fresh, run.error, run.log) for run in runs]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write to {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"can't write to {folder}: permission denied")


def _by_seed(runs: Sequence[Watched]) -> list[Watched]:
    """The first seed of every configuration before any second seed, so that an early comparison is fair."""
    counts: Counter[str] = Counter()
    rank = {}
    for run in runs:
        rank[run.planned.id] = counts[run.planned.label]
        counts[run.planned.label] += 1
    return sorted(runs, key=lambda run: rank[run.planned.id])


class _Engine:
    def __init__(self, waiting: Sequence[Watched], jobs: int, scratch: Path, board: Board, recorded: Sequence[Path]) -> None:
        self.waiting, self.jobs, self.scratch, self.board, self.recorded = deque(waiting), jobs, scratch, board, recorded
        self.running: dict[str, tuple[Watched, subprocess.Popen[bytes]]] = {}
        self.held: list[Watched] = []  #: runs that another process on this machine is writing
        self.look_again = 0.0
        self.stopping = False

    def run(self) -> None:
        try:
            with graceful_stop(self.board.note) as stop_requested:
                while self.running or ((self.waiting or self.held) and not self.stopping):
                    if stop_requested() and not self.stopping:
                        self.stop()
                    self.look_at_held()
                    while self.waiting and len(self.running) < self.jobs and not self.stopping:
                        self.start(self.waiting.popleft())
                    self.look()
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.stopping = True
        finally:
            for run, process in self.running.values():
                process.kill()
                process.wait()
                run.state = "interrupted"

    def stop(self) -> None:
        """Tell the running processes to finish their batch and save; start no more."""
        self.stopping = True
        for _, process in self.running.values():
            process.send_signal(signal.SIGINT)

    def start(self, run: Watched) -> None:
        try:
            found = find_run(run.planned, run.path, self.recorded)  # again: another process may have taken it by now
            if found.state in ("finished", "recorded", "elsewhere"):
                known = run.state == found.state
                run.state, run.path, run.summary, run.fresh = found.state, found.path, found.summary or {}, False
                if found.state == "elsewhere" and is_locked(run.path, here=True):
                    self.held.append(run)
                    if known:
                        return
                    self.board.note(f"notice: another process is running {named(run)} ({run.path}): this sweep waits for it")
            else:
                self.running[run.planned.id] = run, self.process(run, found)
                run.state = "running"
        except (UserError, OSError) as error:
            run.state, run.error = "failed", str(error)
        self.board.tell(run)

    def look_at_held(self) -> None:
        """Every few seconds, queue the held runs again: the other process may have finished or died."""
        if self.held and time.monotonic() >= self.look_again:
            self.look_again = time.monotonic() + LOOK_AGAIN_SECONDS
            self.waiting.extend(self.held)
            self.held.clear()

    def process(self, run: Watched, found: Found) -> subprocess.Popen[bytes]:
        """Start `jepakit run`, or `jepakit resume` for an unfinished run. Remove a folder that cannot be resumed."""
        if found.state == "unfinished":
            for name in ("summary.json", "traceback.txt"):
                (run.path / name).unlink(missing_ok=True)  # they describe the previous attempt
            return resume_run(run.path, self.printed(run))
        if found.state == "broken":
            self.board.note(f"notice: {named(run)} restarts ({run.path}): {found.why}")
            rmtree(run.path)
        return start_run(self.scratch / run.planned.id / "recipe.yaml", run.path, self.printed(run))

    def printed(self, run: Watched) -> Path:
        return self.scratch / run.planned.id / "printed.txt"

    def look(self) -> None:
        """Read the progress of the running processes, and settle those that have ended."""
        for run, process in list(self.running.values()):
            code = process.poll()  # before reading, so that the last record is not missed
            run.follow()
            if code is not None:
                del self.running[run.planned.id]
                self.end(run, code)
                self.board.tell(run)
        self.board.update()

    def end(self, run: Watched, code: int) -> None:
        summary = read_summary(run.path) or {}
        status = summary.get("status")
        if status in ENDED_AS_MEANT:
            run.state, run.summary = "finished", summary
        elif status == "interrupted" or (self.stopping and status != "failed"):
            run.state = "interrupted"
        elif status is None and is_locked(run.path):  # another process took the folder first
            run.state = "waiting"
            self.waiting.append(run)
        else:
            run.state, run.error = "failed", why_it_ended(code, self.printed(run))
            run.log = run.path / "traceback.txt"
            if run.log.exists():
                run.error = run.log.read_text(encoding="utf-8").strip().splitlines()[-1]
            else:
                run.log = run.path.with_name(f"{run.planned.id}.log")
                run.log.parent.mkdir(parents=True, exist_ok=True)
                copyfile(self.printed(run), run.log)
