"""An Optuna study in a folder: which trial is next, and which is not worth finishing. The same command goes on with it.

The journal is a file of JSON lines, which `optuna` appends to and flushes to the disk; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from jepakit.errors import UserError, shown
from jepakit.sweep.variants import Setting
from jepakit.tuning.candidates import Candidates
from jepakit.tuning.journal import Held, import_optuna, open_journal
from jepakit.tuning.space import Choice, Range

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

STOPPED, RUNS, VALUES, WHY = "stopped_at", "runs", "values", "why"  #: what is stored of a trial beside its parameters
FIRST_THERE = 4  #: trials that always go on at a rung
FIRST_RANDOM = 6  #: trials that TPE draws at random before it has something to go by
SAMPLERS = ("tpe", "random")
PRUNERS = ("asha", "hyperband", "none")
Sampler = Literal["tpe", "random"]
Pruner = Literal["asha", "hyperband", "none"]


@dataclass(frozen=True)
class Rules:
    """What a study is: trials of other rules cannot be compared with its own."""

    recipe: str  #: the id of the recipe that varies
    space: str  #: the content of the space
    seeds: tuple[int, ...]
    metric: str
    sampler: str
    sampler_seed: int
    pruner: str
    reduction: int  #: one in this many trials is continued at each rung
    first_rung: int  #: env steps
    total_steps: int

    @property
    def rungs(self) -> list[int]:
        """The env steps at which trials are compared."""
        found: list[int] = []
        step = self.first_rung
        while self.pruner != "none" and step < self.total_steps:
            found.append(step)
            step *= self.reduction
        return found


class Study:
    """The trials of a study, kept in its folder. One process at a time may open it: the caller holds the folder's lock.

    A trial's values depend on its number, on the sampler's seed and on what is known of the trials before it. So a study that was killed
    goes on as if it had not been, if it runs one trial at a time.

    Args:
        folder: The study's folder.
        rules: What the study is.
        candidates: The recipe and its space.

    Raises:
        UserError: The folder holds a study of other rules, or its journal cannot be read.
    """

    def __init__(self, folder: Path, rules: Rules, candidates: Candidates) -> None:
        optuna = import_optuna()
        self.rules, self.candidates, self.known = rules, candidates, candidates.defaults()
        path = open_journal(folder)
        try:
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=Held()))
            self.study = optuna.create_study(
                study_name="tune",
                storage=storage,
                direction="maximize",
                load_if_exists=True,
                pruner=self._pruner(),
                sampler=self._sampler(0),
            )
            stored = self.study.user_attrs.get("rules")
            trials = self.study.get_trials(deepcopy=False)
        except OSError as error:
            raise UserError(f"can't write to {folder}: {error.strerror}") from None
        except Exception as error:  # a journal from elsewhere can hold anything
            raise UserError(f"{path} is no journal of a study ({shown(str(error), 200)}): name another study with --study") from error
        ours = json.loads(json.dumps(asdict(rules)))
        if stored is None and not trials:
            self.study.set_user_attr("rules", ours)
        elif stored != ours:
            raise UserError(f"{folder} holds another study: {_differences(stored, ours)}\n    name another study with --study NAME")

    def trials(self) -> list[FrozenTrial]:
        """All trials, by number, those that wait apart."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]

    def unfinished(self) -> list[tuple[Trial, list[Setting]]]:
        """The trials that were running when an earlier process was stopped, with their values."""
        import optuna

        found = []
        for frozen in self.trials():
            if frozen.state.name == "RUNNING":
                self.study.sampler = self._sampler(frozen.number)
                trial = optuna.trial.Trial(self.study, frozen._trial_id)
                found.append((trial, self._draw(trial)))
        return found

    def next(self) -> tuple[Trial, list[Setting]]:
        """A new trial with its values. The first one is the recipe as it is, and has none."""
        number = len(self.trials())
        self.study.sampler = self._sampler(number)
        if number == 0 and not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self.known)
        trial = self.study.ask()
        return trial, self._draw(trial)

    def _draw(self, trial: Trial) -> list[Setting]:
        space = self.candidates.space
        if trial.number == 0:  # the sampler learns what it can of the recipe's own values

            def first(name: str, part: Range | Choice) -> Any:
                if name in self.known:
                    return self._suggest(trial, name, part)
                return part.low if isinstance(part, Range) else next(iter(part.options))

            space.draw(first)
            return []
        return space.draw(lambda name, part: self._suggest(trial, name, part))

    def is_behind(self, trial: Trial, step: int, value: float) -> bool:
        """Note a trial's return at a rung, and whether it is not worth finishing.

        The recipe as it is always is, and so are the first few trials at a rung: Optuna would end the second trial there for being behind
        one other.
        """
        trial.report(value, step)
        there = sum(step in other.intermediate_values for other in self.trials())
        return bool(trial.should_prune()) and trial.number > 0 and there > FIRST_THERE

    def frozen(self, trial: Trial) -> FrozenTrial:
        """What is stored of a trial."""
        return self.study.get_trials(deepcopy=False)[trial.number]

    def note_runs(self, trial: Trial, ids: Sequence[str]) -> None:
        """Note the ids of a trial's runs."""
        if self.frozen(trial).user_attrs.get(RUNS) != list(ids):
            trial.set_user_attr(RUNS, list(ids))

    def note_stop(self, trial: Trial, step: int) -> None:
        """Note that a trial is to be stopped, so that a process killed before its runs have saved knows of it."""
        trial.set_user_attr(STOPPED, step)

    def complete(self, trial: Trial, values: Sequence[float]) -> bool:
        """Note that a trial has finished.

        Args:
            trial: The trial.
            values: The metric of its runs.

        Returns:
            Whether it is the best so far.
        """
        value = fmean(values)
        others = [other.value for other in self.trials() if other.state.name == "COMPLETE" and other.value is not None]
        trial.set_user_attr(VALUES, list(values))
        self.study.tell(trial, value)
        return value > max(others, default=float("-inf"))

    def prune(self, trial: Trial) -> None:
        """Note that a trial was stopped at its last rung."""
        self.study.tell(trial, state=_state("PRUNED"))

    def fail(self, trial: Trial, why: str) -> None:
        """Note that a trial has failed."""
        trial.set_user_attr(WHY, why[:1000])
        self.study.tell(trial, state=_state("FAIL"))

    def values(self, trial: FrozenTrial) -> list[Setting]:
        """The values of a trial, from its parameters; the recipe as it is has none."""
        return [] if trial.number == 0 else self.candidates.space.draw(lambda name, _: trial.params[name])

    def _suggest(self, trial: Trial, name: str, part: Range | Choice) -> Any:
        if isinstance(part, Choice):
            return trial.suggest_categorical(name, list(part.options))
        if self.candidates.is_whole(name, part):
            return trial.suggest_int(name, int(part.low), int(part.high), step=int(part.step or 1), log=part.log)
        return trial.suggest_float(name, float(part.low), float(part.high), step=part.step and float(part.step), log=part.log)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        import optuna

        digest = hashlib.sha256(f"{self.rules.sampler_seed} {number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        if self.rules.sampler == "random":
            return optuna.samplers.RandomSampler(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`: values that belong to one option
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST_RANDOM, multivariate=True, group=True)

    def _pruner(self) -> optuna.pruners.BasePruner:
        import optuna

        rules = self.rules
        if rules.pruner == "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=rules.first_rung, reduction_factor=rules.reduction)
        if rules.pruner == "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=rules.first_rung, max_resource=rules.total_steps, reduction_factor=rules.reduction
            )
        return optuna.pruners.NopPruner()


def _state(name: str) -> Any:
    from optuna.trial import TrialState

    return TrialState[name]


def _differences(stored: Any, ours: Mapping[str, Any]) -> str:
    if not isinstance(stored, dict):
        return "it says nothing of its recipe"
    names = [name for name in ours if stored.get(name) != ours[name]]
    long = ("recipe", "space")
    told = [
        f"another {name}" if name in long else f"`{name}` is {shown(json.dumps(stored.get(name)))}, not {shown(json.dumps(ours[name]))}"
        for name in names
    ]
    return ", ".join(told) or "with further rules"
