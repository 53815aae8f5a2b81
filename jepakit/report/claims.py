"""The claims of section 3 of *JEPA for RL*, and the verdict of a set of runs on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, log10
from typing import Any, Literal

import numpy as np

from jepakit.diagnostics.collapse import PAPER_VARIANCE
from jepakit.report.runs import Run
from jepakit.report.statistics import Array, Estimate, difference, estimate, improvement, interquartile_mean, share_interval

Verdict = Literal["held", "not held", "undecided"]

BASELINE, J_GRAD, J_ALONE, J_REG = "Ĵ∇R̂", "J∇R̂", "J∇̂R̂", "J∇̂R"  #: Figure 3's configurations
J_ALONE_WHITE = f"{J_ALONE}, x/255"  #: J alone on a white background of one, trained three times as long: `recipes/paper/recovery.yaml`
SOLVED = 475.0  #: the mean return at which Gymnasium counts CartPole-v1 as solved
RISEN = 10.0  #: the rise in return that counts as learning: a constant action already differs from the untrained policy by about 10

Runs = Mapping[str, Sequence[Run]]  #: by symbol, the runs of Figure 3


@dataclass(frozen=True)
class Claim:
    """One claim, as a figure that must lie between two bounds.

    It is *held* if the figure's whole interval lies between them, *not held* if the whole interval lies outside, otherwise *undecided*.
    """

    configuration: str
    text: str  #: the claim, in the paper's words where possible
    statistic: str  #: the figure, in words
    measure: Callable[[Runs], Estimate | None]
    low: float = -inf
    high: float = inf

    @property
    def needed(self) -> str:
        """The bounds in words."""
        if self.high == inf:
            return f"above {self.low:g}"
        return f"below {self.high:g}" if self.low == -inf else f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Judged:
    """A claim, its figure and the verdict."""

    claim: Claim
    estimate: Estimate | None  #: None if the runs for it are missing
    verdict: Verdict
    note: str = ""


def symbol(recipe: Mapping[str, Any]) -> str:
    """A resolved recipe's configuration in the paper's symbols: J (JEPA), ∇ (RL gradients to the encoder), R (Eq. 2). Hat: without."""
    jepa = recipe["jepa"] and recipe["jepa"]["weight"]
    gradients = recipe["algorithm"]["gradients_to_encoder"]
    variance = any(entry["weight"] for entry in recipe["regularizers"] if entry["kind"] == "variance")
    return ("J" if jepa else "Ĵ") + ("∇" if gradients else "∇̂") + ("R" if variance else "R̂")


def judge(runs: Runs, longer: Sequence[Run] = ()) -> list[Judged]:
    """The verdict on every claim.

    Args:
        runs: The runs of Figure 3 by `symbol`; the claims about a missing configuration are undecided.
        longer: Runs of J∇̂R̂ with pixels as x/255, trained for longer. The claims about J alone are judged on these runs too.
    """
    figure3 = [_judged(claim, claim.measure(runs)) for claim in CLAIMS]
    if not longer:
        return [*figure3, _recovery(longer, _steps(runs))]
    white = {**runs, J_ALONE: longer}
    alone = [replace(claim, configuration=J_ALONE_WHITE) for claim in CLAIMS if claim.configuration == J_ALONE]
    return [*figure3, *(_judged(claim, claim.measure(white)) for claim in alone), _recovery(longer, _steps(runs))]


def _judged(claim: Claim, found: Estimate | None) -> Judged:
    if found is None or found.interval is None:
        return Judged(claim, found, "undecided", "too few runs")
    low, high = found.interval
    if claim.low < low and high < claim.high:
        return Judged(claim, found, "held")
    return Judged(claim, found, "not held" if high <= claim.low or low >= claim.high else "undecided")


def _of(configuration: str, figure: Callable[[Run], float]) -> Callable[[Runs], Estimate | None]:
    """The interquartile mean of a figure over a configuration's runs."""
    return lambda runs: _estimate(runs, [configuration], figure, interquartile_mean)


def _difference(more: str, less: str, figure: Callable[[Run], float]) -> Callable[[Runs], Estimate | None]:
    return lambda runs: _estimate(runs, [more, less], figure, difference)


def _best(runs: Runs) -> Estimate | None:
    return _estimate(runs, [J_GRAD, BASELINE, J_ALONE, J_REG], _final, _least_improvement)


def _least_improvement(best: Array, *others: Array) -> Array:
    return np.minimum.reduce([improvement(best, other) for other in others])


def _estimate(
    runs: Runs, configurations: Sequence[str], figure: Callable[[Run], float], statistic: Callable[..., Array]
) -> Estimate | None:
    if not all(runs.get(configuration) for configuration in configurations):
        return None
    return estimate(*([figure(run) for run in runs[configuration]] for configuration in configurations), statistic=statistic)


def _part(run: Run, metric: str, start: float, end: float) -> Array:
    """A metric between two fractions of the run. If the run is too short to have a record there, the nearest record."""
    steps = run.curves["env_steps"] / run.curves["env_steps"][-1]
    within = (steps > start) & (steps <= end)
    within[np.abs(steps - end).argmin()] |= not within.any()
    return run.curves[metric][within]


def _final(run: Run) -> float:
    return float(run.summary["return_last_100"] or 0.0)


def _area(run: Run) -> float:
    return float(run.summary["return_auc"] or 0.0)


def _rise(run: Run) -> float:
    """The final return minus that of the first batch, which the untrained policy collected."""
    known = run.curves["return_last_100"]
    return _final(run) - float(known[~np.isnan(known)][0])


def _last_quarter(run: Run) -> float:
    return _final(run) - float(_part(run, "return_last_100", 0.0, 0.75)[-1])


def _median_variance(run: Run) -> float:
    return float(np.median(run.curves["embedding/variance"]))


def _log_variance(run: Run, start: float = 0.9, end: float = 1.0) -> float:
    """log10 of the geometric mean variance over a tenth of the run, so that no single batch decides; 1e-30 stands for zero."""
    return float(np.log10(np.maximum(_part(run, "embedding/variance", start, end), 1e-30)).mean())


def _fall(run: Run) -> float:
    """Decades by which the variance changed from the run's second tenth to its last."""
    return _log_variance(run) - _log_variance(run, 0.1, 0.2)


def _log_jepa(run: Run) -> float:
    """log10 of the mean L_JEPA over the last tenth of the run: a single batch is noisy."""
    return log10(np.nanmean(_part(run, "loss/jepa", 0.9, 1.0)))


VARIANCE = "median over the run of the variance of s_x"
END = "log10 of the variance of s_x, last tenth of the run"
RISE = "final return minus the untrained policy's"
CLAIMS = (
    Claim(BASELINE, "learns some advantageous behaviour …", RISE, _of(BASELINE, _rise), low=RISEN),
    Claim(BASELINE, "… albeit in a limited fashion", "final return", _of(BASELINE, _final), high=SOLVED),
    Claim(BASELINE, "embedding variance between 0 and 1", VARIANCE, _of(BASELINE, _median_variance), low=PAPER_VARIANCE, high=1.0),
    Claim(J_GRAD, "the best results", "least P(final return above another configuration's)", _best, low=0.5),
    Claim(
        J_GRAD,
        "the reward increases much faster",
        "AUC minus the baseline's",
        _difference(J_GRAD, BASELINE, _area),
        low=0.0,
    ),
    Claim(J_GRAD, "… and does not plateau", "final return minus that at three quarters of the run", _of(J_GRAD, _last_quarter), low=0.0),
    Claim(J_GRAD, "reasonable embedding variances", VARIANCE, _of(J_GRAD, _median_variance), low=PAPER_VARIANCE, high=1.0),
    Claim(J_ALONE, "collapses: variance below 1e-7", END, _of(J_ALONE, _log_variance), high=log10(PAPER_VARIANCE)),
    Claim(J_ALONE, "an ever-decreasing variance", "decades from the run's second tenth to its last", _of(J_ALONE, _fall), high=0.0),
    Claim(J_ALONE, "a low JEPA loss", "log10 of L_JEPA at the end, minus that of J∇R̂", _difference(J_ALONE, J_GRAD, _log_jepa), high=0.0),
    Claim(J_ALONE, "the return never increases", RISE, _of(J_ALONE, _rise), high=RISEN),
    Claim(J_REG, "the regularizer prevents collapse", END, _of(J_REG, _log_variance), low=log10(PAPER_VARIANCE)),
    Claim(J_REG, "the actor can learn", RISE, _of(J_REG, _rise), low=RISEN),
    Claim(J_REG, "… much slower than with gradients", "AUC of J∇R̂ minus that of J∇̂R", _difference(J_GRAD, J_REG, _area), low=0.0),
)
RECOVERY = Claim(
    J_ALONE_WHITE, "in some cases recovers when trained for longer", "share of the collapsed runs that recover", lambda _: None, low=0.0
)


def _steps(runs: Runs) -> float:
    """Env steps of the runs of Figure 3."""
    return float(max((run.curves["env_steps"][-1] for group in runs.values() for run in group), default=0))


def _recovery(longer: Sequence[Run], steps: float) -> Judged:
    """How many of the runs whose variance was below 1e-7 at the end of Figure 3 end above it.

    One such run is enough for "in some cases". Too few runs without one leave the claim undecided.
    """
    if not longer:
        return Judged(RECOVERY, None, "undecided", "no longer runs")
    collapsed = [run for run in longer if np.interp(steps, run.curves["env_steps"], run.curves["embedding/variance"]) < PAPER_VARIANCE]
    recovered = [run for run in collapsed if 10 ** _log_variance(run) >= PAPER_VARIANCE]
    note = f"{len(longer)} longer runs, {len(collapsed)} of them collapsed at {steps:,.0f} env steps, {len(recovered)} recovered"
    if not collapsed:
        return Judged(RECOVERY, None, "undecided", f"{note}: there was nothing to recover from")
    share = Estimate(len(recovered) / len(collapsed), share_interval(len(recovered), len(collapsed)))
    return Judged(RECOVERY, share, "held" if recovered else "undecided", note)
