"""Runs the trials of a study on an engine: starts them, stops those that are not worth finishing, and tells the study how each ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from jepakit.errors import UserError
from jepakit.protocols import Ended, Engine
from jepakit.storage.folder import read_summary
from jepakit.storage.lock import holder
from jepakit.sweep.found import find_run
from jepakit.sweep.jobs import write_job
from jepakit.sweep.plan import Planned
from jepakit.sweep.scheduler import Scheduler
from jepakit.sweep.table import Board, figure
from jepakit.sweep.variants import Setting
from jepakit.sweep.watched import Watched
from jepakit.training.run import ENDED_AS_MEANT
from jepakit.tuning.candidates import Candidates
from jepakit.tuning.measure import measured, returns_at
from jepakit.tuning.study import STOPPED, Study

if TYPE_CHECKING:
    from optuna.trial import Trial

GOING = ("waiting", "running", "elsewhere")
_DISK_FULL = "DiskFull: "  #: begins the reason of a run that found no room


def plan_trial(candidates: Candidates, number: int, settings: Sequence[Setting], seeds: Sequence[int], study: str) -> list[Planned]:
    """The runs of a trial, one for each seed."""
    recipe = candidates.recipe(settings) if settings else candidates.base
    label = f"{study} {number}"
    return [Planned.of(label, recipe.model_copy(update={"seed": seed, "case": label})) for seed in seeds]


@dataclass
class Going:
    """A trial that has not ended."""

    trial: Trial
    runs: list[Watched]
    told: set[int] = field(default_factory=set)  #: the rungs at which it was compared with others, or had no return yet
    latest: float | None = None  #: its return at the last of them
    pruned: bool = False


class Tuner(Scheduler):
    """Keeps a number of trials going until the study has enough, or until Ctrl-C.

    Args:
        engine: Where runs are started.
        study: The study.
        name: Its name.
        root: The folder of all its runs.
        home: The folder of the jobs.
        board: Shows what happens.
        runs: The list of runs that the board shows; it grows.
        trials: How many trials the study shall have.
        at_once: How many trials at a time.
    """

    def __init__(
        self, engine: Engine, study: Study, name: str, root: Path, home: Path, board: Board, runs: list[Watched], trials: int, at_once: int
    ) -> None:
        super().__init__(engine, [], home, board, [])
        self.study, self.name, self.root, self.runs, self.trials, self.at_once = study, name, root, runs, trials, at_once
        self.going: list[Going] = []
        self.parked: list[Watched] = []  #: runs that another trial is running
        self.failure = ""  #: why the recipe itself cannot be run
        for trial, settings in study.unfinished():
            self.add(trial, settings)
        self.refill()

    def look(self) -> None:
        """Follow the runs, settle the trials that have ended, and start others in their place."""
        super().look()
        for going in list(self.going):
            self.compare(going)
            self.conclude(going)
        if not self.stopping:
            self.refill()

    def end(self, run: Watched, ended: Ended) -> None:
        """Settle a run. One that was stopped because its trial is behind is neither a failure nor started again."""
        behind = any(going.pruned and any(run is mine for mine in going.runs) for going in self.going)
        if behind and (read_summary(run.path) or {}).get("status") not in (*ENDED_AS_MEANT, "failed"):
            run.state = "pruned"
        else:
            super().end(run, ended)

    def refill(self) -> None:
        """Start trials until enough are going."""
        count = len(self.study.trials())
        while len(self.going) < self.at_once and count < self.trials and not self.failure:
            self.add(*self.study.next())
            count += 1
        busy = {run.planned.id for run in self.waiting} | {run.planned.id for run in self.held} | self.running.keys()
        for run in list(self.parked):
            if run.planned.id not in busy:
                self.parked.remove(run)
                self.waiting.append(run)
                busy.add(run.planned.id)

    def add(self, trial: Trial, settings: Sequence[Setting]) -> None:
        """Queue the runs of a trial; those that have ended, or were begun by an earlier process, are found again."""
        before = self.study.frozen(trial)
        going = Going(trial, [], set(before.intermediate_values), pruned=STOPPED in before.user_attrs)
        self.going.append(going)
        try:
            planned = plan_trial(self.study.candidates, trial.number, settings, self.study.rules.seeds, self.name)
        except UserError as error:  # values that do not fit together, though each of them is possible
            self.going.remove(going)
            self.fail_trial(going, str(error))
            return
        for one in planned:
            path = self.root / one.id
            try:
                run = Watched.of(one, find_run(one, path))
            except UserError as error:
                run = Watched(one, "failed", path, error=str(error))
            going.runs.append(run)
            self.runs.append(run)
            if run.state in ("waiting", "elsewhere"):
                write_job(one, self.home)
                self.parked.append(run)
        if going.pruned:
            going.latest = max(before.intermediate_values.items())[1]
            self.stop_trial(going)
        self.study.note_runs(trial, [one.id for one in planned])
        self.compare(going)
        self.conclude(going)

    def compare(self, going: Going) -> None:
        """Compare a trial with the others at the rungs that all its runs have reached, and stop it if it is behind."""
        left = [step for step in self.study.rules.rungs if step not in going.told]
        if going.pruned or not left or any(run.state not in ("finished", "recorded") and run.steps < left[0] for run in going.runs):
            return
        curves = [returns_at(run.path, left) for run in going.runs]
        for step in left:
            if not all(step in curve for curve in curves):
                return
            going.told.add(step)
            values = [value for curve in curves if (value := curve[step]) is not None]
            if len(values) < len(curves):  # no episode has ended yet
                continue
            going.latest = fmean(values)
            if self.study.is_behind(going.trial, step, going.latest):
                going.pruned = True
                self.study.note_stop(going.trial, step)
                self.stop_trial(going)
                return

    def stop_trial(self, going: Going) -> None:
        """Let the running runs of a trial save, and start none of its others."""
        for run in going.runs:
            self.waiting = deque(other for other in self.waiting if other is not run)
            self.held = [other for other in self.held if other is not run]
            self.parked = [other for other in self.parked if other is not run]
            running, job = self.running.get(run.planned.id, (None, None))
            if running is run and job:
                job.stop()
            elif run.state in GOING:
                run.state = "pruned"

    def conclude(self, going: Going) -> None:
        """Tell the study how a trial has ended, if it has."""
        number, runs, rules = going.trial.number, going.runs, self.study.rules
        if any(run.state in GOING and not self.is_left(run) for run in runs):
            return
        self.compare(going)  # again: a run that has just ended may have passed rungs
        if not going.pruned and (far := [run for run in runs if run.state == "elsewhere"]):
            self.going.remove(going)
            self.board.note(f"trial {number} is unfinished: {far[0].path} is held by {holder(far[0].path)}")
            return
        if not going.pruned and any(run.state == "interrupted" for run in runs):
            self.going.remove(going)  # the next call goes on with it
            return
        self.going.remove(going)
        if going.pruned:
            self.study.prune(going.trial)
            step = max(going.told)
            self.board.note(f"trial {number} is stopped at {step:,} of {rules.total_steps:,} env steps: return {figure(going.latest)}")
            return
        if failed := next((run for run in runs if run.state == "failed"), None):
            if _is_accident(failed.error):
                self.board.note(f"trial {number} is unfinished, and the next call goes on with it: {failed.error}")
                if _DISK_FULL in failed.error:  # so would be all others
                    self.stop()
            else:
                self.fail_trial(going, failed.error)
            return
        values = [measured(run.path, run.summary, rules.metric) for run in runs]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            self.fail_trial(going, f"its runs have no {rules.metric}")
        else:
            best = self.study.complete(going.trial, known)
            self.board.note(f"trial {number}: {rules.metric} {figure(fmean(known))}{', the best so far' if best else ''}")

    def is_left(self, run: Watched) -> bool:
        """Whether a process of another host holds the run, whose end this one cannot see."""
        mine = (*self.waiting, *self.held, *self.parked)
        return run.state == "elsewhere" and not any(run is other for other in mine)

    def fail_trial(self, going: Going, why: str) -> None:
        """Note that a trial has failed. If it is the recipe as it is, there is nothing to search; the next call tries it again."""
        self.board.note(f"trial {going.trial.number} has failed: {why}")
        if going.trial.number == 0:
            self.failure = why
            self.stop()
        else:
            self.study.fail(going.trial, why)


def _is_accident(error: str) -> bool:
    """Whether a run failed for a reason that its values need not have caused: it was killed, or the disk was full."""
    return error.startswith("killed by ") or _DISK_FULL in error
