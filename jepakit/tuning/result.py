"""What has come out of a study: its trials with their values, and the best of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepakit.report.inventory import newest_record
from jepakit.storage.folder import read_summary
from jepakit.sweep.table import figure
from jepakit.tuning.candidates import value_at
from jepakit.tuning.journal import import_optuna
from jepakit.tuning.study import RUNS, VALUES, WHY, Rules, Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEAST = 10  #: finished trials from which importance is told
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "unfinished"}


@dataclass(frozen=True)
class Trial:
    """A trial of a study."""

    number: int  #: trial 0 is the recipe as it is
    state: str  #: ``finished``, ``pruned``, ``failed`` or ``unfinished``
    value: float | None  #: the mean of the metric over its seeds; None unless it has finished
    values: tuple[float, ...]  #: the metric of each seed
    settings: Mapping[str, Any]  #: its values, by path; empty for trial 0
    params: Mapping[str, Any]  #: what the sampler has chosen, by name
    runs: tuple[Path, ...]  #: the folders of its runs, one for each seed
    env_steps: int  #: env steps of all its runs
    curve: Mapping[int, float]  #: the mean return at each rung that it has reached
    why: str = ""  #: why it failed


@dataclass(frozen=True, repr=False)
class Tuned:
    """A study."""

    name: str
    path: Path  #: its folder
    rules: Rules
    recipe: Mapping[str, Any]  #: the recipe's own values, by the paths of the space
    trials: tuple[Trial, ...]
    importance: Mapping[str, float]  #: of each searched value for being in the better half, by PED-ANOVA; empty for too few trials

    @property
    def ended(self) -> list[Trial]:
        """The trials that have finished, failed or been stopped."""
        return [trial for trial in self.trials if trial.state != "unfinished"]

    @property
    def ranking(self) -> list[Trial]:
        """The finished trials, the best first."""
        return sorted((trial for trial in self.trials if trial.value is not None), key=lambda trial: (-_value(trial), trial.number))

    @property
    def best(self) -> Trial | None:
        """The best trial; None if none has finished."""
        return next(iter(self.ranking), None)

    @property
    def default(self) -> Trial | None:
        """The recipe as it is; None if it has not finished."""
        return next((trial for trial in self.ranking if trial.number == 0), None)

    def __repr__(self) -> str:
        """One line."""
        told = f"best trial {self.best.number}: {self.rules.metric} {figure(self.best.value)}" if self.best else "no trial has finished"
        more = f", the recipe itself {figure(self.default.value)}" if self.default else ""
        return f"<study {self.name!r}: {len(self.ended)} trials, {told}{more}, {self.path}>"


def _value(trial: Trial) -> float:
    return -math.inf if trial.value is None or math.isnan(trial.value) else trial.value


def read_result(study: Study, name: str, folder: Path, root: Path) -> Tuned:
    """The trials of a study.

    Args:
        study: The study.
        name: Its name.
        folder: Its folder.
        root: The folder of its runs.
    """
    trials = tuple(_trial(study, frozen, root) for frozen in study.trials())
    written = study.candidates.base.model_dump(mode="json")
    own = {path: value_at(written, path) for path in study.candidates.space.parts}
    return Tuned(name, folder, study.rules, own, trials, _importance(study))


def _trial(study: Study, frozen: FrozenTrial, root: Path) -> Trial:
    runs = tuple(root / str(run) for run in frozen.user_attrs.get(RUNS, ()))
    finished = frozen.state.name == "COMPLETE"
    try:
        settings = {setting.path: setting.value.plain() for setting in study.values(frozen)}
    except KeyError:  # its process was killed while it chose values
        settings = {}
    return Trial(
        frozen.number,
        STATES[frozen.state.name],
        frozen.value if finished else None,
        tuple(frozen.user_attrs.get(VALUES, ())),
        settings,
        dict(frozen.params),
        runs,
        sum(_steps(run) for run in runs),
        dict(frozen.intermediate_values),
        str(frozen.user_attrs.get(WHY, "")),
    )


def _steps(run: Path) -> int:
    steps = (read_summary(run) or newest_record(run / "metrics.jsonl")).get("env_steps")
    return steps if isinstance(steps, int) else 0


def _importance(study: Study) -> dict[str, float]:
    """Watanabe et al. 2023, PED-ANOVA: how differently a value is distributed in the better half of the trials and in all.

    Optuna's own quantile, the best tenth, is a trial or two of twenty. Where made-up returns depended on one of three values, 30% of random
    searches of 16 trials named another one as the most important by the best tenth, and 5% by the better half.
    """
    finished = [trial for trial in study.trials() if trial.state.name == "COMPLETE" and trial.number > 0]
    if len(finished) < LEAST:
        return {}
    optuna = import_optuna()
    apart = optuna.create_study(direction="maximize")  # without the recipe as it is, which may have no values in the space
    apart.add_trials(finished)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = optuna.importance.get_param_importances(apart, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.5))
    if any("will be equal" in str(warning.message) for warning in said):  # the trials are too few, or all alike
        return {}
    return {name: round(float(share), 4) for name, share in found.items() if math.isfinite(share)}
