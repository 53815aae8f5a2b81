"""Schedules the runs of a sweep on an engine, several at a time. One run's failure does not affect the others."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shutil import copyfile, rmtree

from jepakit.errors import UserError, shown
from jepakit.machine.interrupt import graceful_stop
from jepakit.protocols import Ended, Engine, Going, Job
from jepakit.storage.folder import RunFolder, make_folder, read_summary
from jepakit.storage.lock import forget_lock, is_locked
from jepakit.sweep.engines import load_engine
from jepakit.sweep.found import OTHER_CODE, Found, find_run
from jepakit.sweep.jobs import FOLDER, job_of, said_at_failure, why_it_ended, write_job
from jepakit.sweep.outcome import Outcome
from jepakit.sweep.plan import Plan, rehearse_runs
from jepakit.sweep.table import Board, board_for, named
from jepakit.sweep.watched import Watched
from jepakit.training.run import ENDED_AS_MEANT

POLL_SECONDS = 0.25
LOOK_AGAIN_SECONDS = 2.0  #: between two checks of a run that another process holds
STILL_SECONDS = 120.0  #: without a change in its folder, a run on another machine counts as left


def run_plan(
    plan: Plan, root: Path, jobs: int | None = None, recorded: Sequence[Path] = (), quiet: bool = False, engine: Engine | None = None
) -> list[Outcome]:
    """Start new runs and resume unfinished ones in ``root/<name>/<id>``, beginning with the first seed of every configuration.

    Args:
        plan: The runs.
        root: The folder of all runs, as for ``jepakit run``.
        jobs: Runs at a time; None: what suits the engine.
        recorded: Folders of records; the runs recorded there count as finished.
        quiet: Show only warnings.
        engine: Where runs are started; None: on this machine.

    Raises:
        UserError: A configuration does not fit together, a run's folder holds something else, or the engine cannot be used; nothing was
            started.
    """
    engine = engine or load_engine()
    found = [find_run(planned, root / plan.name / planned.id, recorded) for planned in plan.runs]
    runs = [Watched.of(planned, one) for planned, one in zip(plan.runs, found, strict=True)]
    may_end = [run for run in runs if run.state == "elsewhere" and (engine.remote or is_locked(run.path, here=True))]
    waiting = [run for run in runs if run.state == "waiting" or run in may_end]
    rehearse_runs(run.planned for run in waiting)
    if waiting:
        make_folder(root / plan.name)
    with jobs_folder(root / plan.name, engine) as home, board_for(plan.name, runs, quiet=quiet) as board:
        for notice in (*_renamed(plan, found), *_watched_otherwise(found)):
            board.note(notice)
        for run in waiting:  # written now, so that editing the recipe during the sweep changes nothing
            write_job(run.planned, Path(home))
        if waiting:
            engine.begin(Path(home).absolute(), board.note)
            try:
                scheduler = Scheduler(engine, _by_seed(waiting), Path(home), board, recorded)
                told = jobs or engine.at_a_time([scheduler.job(run) for run in waiting])
                scheduler.run(told or plan.jobs(), told or plan.jobs_at_the_end())
            finally:
                engine.end()
    return [Outcome(run.planned, run.state, run.path, run.summary, run.fresh, run.error, run.log) for run in runs]


def jobs_folder(runs: Path, engine: Engine) -> AbstractContextManager[str]:
    """The folder of the sweep's jobs: beside the runs if other machines read it, else a temporary one."""
    return nullcontext(str(runs / FOLDER)) if engine.remote else tempfile.TemporaryDirectory(prefix="jepakit-")


def _renamed(plan: Plan, found: Sequence[Found]) -> Iterator[str]:
    """Of each case whose runs were trained as another one, a notice."""
    cases = dict.fromkeys((planned.recipe.case, one.case) for planned, one in zip(plan.runs, found, strict=True) if one.case)
    for case, before in cases:
        if case != before:
            yield f"notice: runs of `{case}` were trained as `{before}`: `compare`, `report` and `runs` still name them so"


def _watched_otherwise(found: Sequence[Found]) -> Iterator[str]:
    """Of each field that decides no result and that runs were begun with another value of, a notice."""
    for name in dict.fromkeys(name for one in found for name in one.watched):
        others = [shown(json.dumps(one.watched[name]), 60) for one in found if name in one.watched]
        told = " or ".join(dict.fromkeys(others))
        yield f"notice: {len(others)} of {len(found)} runs began with another `{name}`, {told}: they stay as they are, or go on so"


def _by_seed(runs: Sequence[Watched]) -> list[Watched]:
    """The first seed of every configuration before any second seed, so that an early comparison is fair."""
    counts: Counter[str] = Counter()
    rank = {}
    for run in runs:
        rank[run.planned.id] = counts[run.planned.label]
        counts[run.planned.label] += 1
    return sorted(runs, key=lambda run: rank[run.planned.id])


class Scheduler:
    """Hands waiting runs to an engine, a number of them at a time, until none is left.

    Args:
        engine: Where runs are started.
        waiting: The runs, in the order of their start.
        home: The folder of the jobs.
        board: Shows what happens.
        recorded: Folders of records; the runs recorded there count as finished.
    """

    def __init__(self, engine: Engine, waiting: Sequence[Watched], home: Path, board: Board, recorded: Sequence[Path]) -> None:
        self.engine, self.waiting, self.home, self.board, self.recorded = engine, deque(waiting), home, board, recorded
        self.running: dict[str, tuple[Watched, Going]] = {}
        self.held: list[Watched] = []  #: runs that another process is writing, which may end
        self.changed: dict[str, tuple[float, float]] = {}  #: of a held run, when its folder last changed: by its clock, and noticed by ours
        self.carried: dict[str, RunFolder] = {}  #: folders that the engine writes, locked as long as their run runs elsewhere
        self.lost: Counter[str] = Counter()  #: how often a run has lost its place
        self.look_again = 0.0
        self.stopping = False

    def run(self, jobs: int, at_the_end: int = 0) -> None:
        """Run them, ``jobs`` at a time; return once all have ended, or once the running ones have saved after Ctrl-C.

        Once no more than ``at_the_end`` are left, all of these run at a time.
        """
        try:
            with graceful_stop(self.board.note) as stop_requested:
                while self.running or ((self.waiting or self.held) and not self.stopping):
                    if stop_requested() and not self.stopping:
                        self.stop()
                    self.look_at_held()
                    if not self.stopping:
                        self.fill(at_the_end if len(self.waiting) + len(self.running) <= at_the_end else jobs)
                    self.look()
                    time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.stopping = True
        finally:
            for run, going in self.running.values():
                run.state = "waiting" if going.queued else "interrupted"
                going.kill()
            for folder in self.carried.values():
                folder.close()

    def stop(self) -> None:
        """Tell the running runs to finish their batch and save; start no more."""
        self.stopping = True
        for _, going in self.running.values():
            going.stop()

    def fill(self, jobs: int) -> None:
        """Hand runs to the engine until it has enough, all of them at once: it may submit them as one."""
        taken: list[tuple[Watched, Job]] = []
        while self.waiting and len(self.running) + len(taken) < jobs:
            run = self.waiting.popleft()
            try:
                if job := self.ready(run):
                    taken.append((run, job))
            except (UserError, OSError) as error:
                self.fail(run, str(error))
        if not taken:
            return
        try:
            started = self.engine.start([job for _, job in taken])
        except (UserError, OSError) as error:
            for run, _ in taken:
                self.fail(run, str(error))
                if folder := self.carried.pop(run.planned.id, None):
                    folder.close()
            return
        for (run, _), going in zip(taken, started, strict=True):
            self.take(run, going)

    def take(self, run: Watched, going: Going) -> None:
        """Note that the engine has a run."""
        self.running[run.planned.id] = run, going
        if going.queued:
            run.state = "waiting"
        else:
            run.state = "running"
            self.board.tell(run)

    def fail(self, run: Watched, why: str) -> None:
        """Note that a run could not be started."""
        run.state, run.error = "failed", why
        self.board.tell(run)

    def job(self, run: Watched) -> Job:
        """The job of a run."""
        return job_of(run.planned, run.path, self.home)

    def ready(self, run: Watched) -> Job | None:
        """The job that starts or resumes the run; None if there is nothing to start. A folder that cannot be resumed is removed."""
        found = find_run(run.planned, run.path, self.recorded)  # again: another process may have taken it by now
        job = self.job(run)
        if not (self.home / run.planned.id / "recipe.yaml").is_file():  # cleared away, as old files in temporary folders are
            write_job(run.planned, self.home)
        if found.state in ("finished", "recorded"):
            run.state, run.path, run.summary, run.fresh = found.state, found.path, found.summary or {}, False
            self.board.tell(run)
        elif going := self.engine.find(job):
            run.fresh = True
            self.take(run, going)
        elif found.state == "elsewhere":
            waits = is_locked(run.path, here=True) or (self.engine.remote and self.is_alive(run))
            known = run.state == "elsewhere" or bool(self.lost[run.planned.id])  # what is left of a lost run is about to end
            if waits:
                self.held.append(run)
                if known:
                    return None
            run.state, run.fresh = "elsewhere", False
            if waits:
                self.board.note(f"notice: another process is running {named(run)} ({run.path}): this sweep waits for it")
            self.board.tell(run)
        else:
            run.fresh = True
            if found.state == "broken":
                self.board.note(f"notice: {named(run)} restarts ({run.path}): {found.why}")
                rmtree(run.path)
            if found.state == "unfinished":
                for name in ("summary.json", "traceback.txt"):
                    (run.path / name).unlink(missing_ok=True)  # they describe the previous attempt
                job = job._replace(words=job.again)
            if self.engine.carries:
                open_or_create = RunFolder.reopen if found.state == "unfinished" else RunFolder.create
                self.carried[run.planned.id] = open_or_create(run.path)
            return job
        return None

    def is_alive(self, run: Watched) -> bool:
        """Whether the folder of a run on another machine has changed lately, as far as this process has seen."""
        stamp = max((path.stat().st_mtime for path in (run.path, *run.path.glob("*.jsonl")) if path.exists()), default=0.0)
        before, noticed = self.changed.get(run.planned.id, (None, 0.0))
        if stamp != before:
            self.changed[run.planned.id] = stamp, (noticed := time.monotonic())
        return time.monotonic() - noticed < STILL_SECONDS

    def look_at_held(self) -> None:
        """Every few seconds, queue the held runs again: the other process may have finished or died."""
        if self.held and time.monotonic() >= self.look_again:
            self.look_again = time.monotonic() + LOOK_AGAIN_SECONDS
            self.waiting.extend(self.held)
            self.held.clear()

    def look(self) -> None:
        """Read the progress of the running runs, and settle those that have ended."""
        for run, going in list(self.running.values()):
            ended = going.poll()  # before reading, so that the last record is not missed
            run.follow()
            if run.state == "waiting" and not going.queued and not (ended and ended.lost):
                run.state = "running"
                self.board.tell(run)
            elif run.state == "running" and going.queued and not ended:  # its place was lost
                run.state = "waiting"
                self.board.tell(run)
            if ended:
                del self.running[run.planned.id]
                self.end(run, ended)
                self.board.tell(run)
        self.board.update()

    def end(self, run: Watched, ended: Ended) -> None:
        """Settle a run whose job has ended: it has finished, failed, was interrupted, or is started again."""
        if folder := self.carried.pop(run.planned.id, None):
            folder.close()
        summary = read_summary(run.path) or {}
        status = summary.get("status")
        if ended.host:
            forget_lock(run.path, ended.host)
        if status in ENDED_AS_MEANT and summary.get("id") not in (None, run.planned.id):
            run.state, run.error, run.log = "failed", f"{run.path} {OTHER_CODE}: remove it, and give the command again", None
        elif status in ENDED_AS_MEANT:
            run.state, run.summary = "finished", summary
        elif ended.lost and not self.stopping and status != "failed" and self.lost[run.planned.id] < self.engine.retries:
            self.lost[run.planned.id] += 1
            run.state = "waiting"
            self.waiting.append(run)
            self.board.note(f"notice: {named(run)} is started again: {why_it_ended(ended, self.job(run).log)}")
        elif status == "interrupted" or (self.stopping and status != "failed"):
            run.state = "interrupted"
        elif status is None and is_locked(run.path):  # another process took the folder first
            run.state = "waiting"
            self.waiting.append(run)
        else:
            log = self.job(run).log
            run.state, run.error, run.log = "failed", why_it_ended(ended, log), run.path / "traceback.txt"
            if run.log.exists():
                run.error = said_at_failure(run.path) or run.log.read_text(encoding="utf-8").strip().splitlines()[-1]
            elif log.is_file():
                run.log = run.path.with_name(f"{run.planned.id}.log")
                run.log.parent.mkdir(parents=True, exist_ok=True)
                copyfile(log, run.log)
            else:
                run.log = None
