"""The comparison of configurations: one row each, the probability of improvement of every pair, and notes on how to read both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np

from jepakit.recipe.schema import TASK
from jepakit.report.labels import Configuration
from jepakit.report.runs import Run
from jepakit.report.statistics import (
    CONFIDENCE,
    RESAMPLES,
    Estimate,
    Reached,
    area_under_curve,
    estimate,
    final_return,
    held_out_return,
    improvement,
    probability_of_improvement,
    reached,
)

MOST_PAIRED = 6  #: configurations; the pairs of more would fill a page
ENOUGH_RUNS = 5


@dataclass(frozen=True)
class Row:
    """The statistics of one configuration. Every `Estimate` is an interquartile mean over its runs."""

    label: str
    runs: tuple[str, ...]  #: ids, ordered by seed
    seeds: tuple[int, ...]
    env: str  #: the env's id, or its kind if it has no id
    total_steps: int
    final_return: Estimate | None
    area_under_curve: Estimate | None
    reached: dict[float, Reached]  #: by threshold
    variance: float | None  #: median over runs of the embedding variance at the end
    rank: float | None  #: median over runs of the effective rank at the end
    collapsed: int  #: runs collapsed at the end
    stopped: int  #: runs that `on_collapse: stop` ended early
    evaluation: Estimate | None  #: held-out return of the sampled policy; None unless every run was evaluated
    greedy: Estimate | None  #: that of the greedy policy
    episodes: tuple[int, ...]  #: the numbers of held-out episodes of its evaluated runs, each once


@dataclass(frozen=True)
class Pair:
    """The probability that a run of ``better`` ends with a higher return than a run of ``worse``."""

    better: str
    worse: str
    probability: Estimate


def summarise(configurations: Sequence[Configuration], thresholds: Sequence[float] = ()) -> list[Row]:
    """One row per configuration."""
    return [_row(configuration, thresholds) for configuration in configurations]


def compare_pairs(configurations: Sequence[Configuration]) -> list[Pair]:
    """Every two configurations of one env, the better one first; no pairs if there are more than `MOST_PAIRED` configurations."""
    if len(configurations) > MOST_PAIRED:
        return []
    pairs = []
    for first, second in combinations(configurations, 2):
        x, y = (_values(configuration.runs, final_return) for configuration in (first, second))
        if x is not None and y is not None and _env(first) == _env(second):
            if improvement(np.array(x)[:, None], np.array(y)[:, None]) < 0.5:
                first, second, x, y = second, first, y, x
            pairs.append(Pair(first.label, second.label, probability_of_improvement(x, y)))
    return pairs


def notes(rows: Sequence[Row]) -> list[str]:
    """Notes on how to read the numbers."""
    found = [
        f"Interquartile means over runs, in brackets their {CONFIDENCE:.0%} intervals ({RESAMPLES:,} bootstrap resamples of the runs). "
        "Final return: mean return of the last 100 training episodes. AUC: that mean, averaged over training. Variance and effective rank: "
        "of the embedding at the end, medians over runs."
    ]
    few = [row.label for row in rows if len(row.runs) < ENOUGH_RUNS]
    if few:
        found.append(f"Fewer than {ENOUGH_RUNS} runs in {'; '.join(few)}: the intervals say little; one run has none.")
    if twice := [row.label for row in rows if len(set(row.seeds)) < len(row.seeds)]:
        found.append(f"Some seeds were run more than once ({'; '.join(twice)}): the intervals take their runs for independent ones.")
    steps = {row.label: row.total_steps for row in rows}
    if len(set(steps.values())) > 1:
        lengths = "; ".join(f"{label}: {count:,}" for label, count in steps.items())
        found.append(f"The configurations differ in their number of env steps ({lengths}): do not compare their final return and AUC.")
    if early := [row.label for row in rows if row.stopped]:
        found.append(f"Some runs stopped early ({'; '.join(early)}): their final return and AUC cover fewer env steps.")
    if endless := [row.label for row in rows if row.final_return is None]:
        found.append(f"Some runs ended no episode ({'; '.join(endless)}): there is no final return and no AUC of their configurations.")
    envs = {row.label: row.env for row in rows}
    if len(set(envs.values())) > 1:
        places = "; ".join(f"{label}: {env}" for label, env in envs.items())
        found.append(f"The configurations differ in their env ({places}): do not compare their final return and AUC.")
    if len({count for row in rows for count in row.episodes}) > 1:
        played = "; ".join(f"{row.label}: {' or '.join(map(str, row.episodes))}" for row in rows if row.episodes)
        found.append(f"Held-out returns are of different numbers of episodes ({played}): those of fewer vary more.")
    return found


def task_of(env: Mapping[str, Any]) -> str:
    """The task of a recipe's env, such as ``CartPole-v1``, ``Pong`` or ``cartpole-swingup``; else its kind."""
    return "-".join(str(env[name]) for name in TASK if name in env) or str(env.get("kind"))


def _env(configuration: Configuration) -> str:
    env = configuration.runs[0].recipe.get("env")
    return task_of(env) if isinstance(env, dict) else "none"


def _row(configuration: Configuration, thresholds: Sequence[float]) -> Row:
    runs = configuration.runs
    return Row(
        label=configuration.label,
        runs=tuple(run.id for run in runs),
        seeds=tuple(run.seed for run in runs),
        env=_env(configuration),
        total_steps=runs[0].recipe["total_steps"],
        final_return=_estimate(_values(runs, final_return)),
        area_under_curve=_estimate(_values(runs, area_under_curve)),
        reached={threshold: reached(runs, threshold) for threshold in thresholds},
        variance=_median(_values(runs, lambda run: run.summary["embedding_variance"])),
        rank=_median(_values(runs, lambda run: run.summary["embedding_rank"])),
        collapsed=sum(run.summary["collapsed"] for run in runs),
        stopped=sum(run.summary.get("status") == "stopped" for run in runs),
        evaluation=_estimate(_values(runs, held_out_return)),
        greedy=_estimate(_values(runs, partial(held_out_return, policy="greedy"))),
        episodes=tuple(sorted({run.evaluation["episodes"] for run in runs if run.evaluation})),
    )


def _values(runs: Sequence[Run], score: Callable[[Run], float | None]) -> list[float] | None:
    """One score per run, or None if a run has none."""
    values = [value for run in runs if (value := score(run)) is not None]
    return values if len(values) == len(runs) else None


def _estimate(values: list[float] | None) -> Estimate | None:
    return None if values is None else estimate(values)


def _median(values: list[float] | None) -> float | None:
    return None if values is None else median(values)
