"""Statistics over seeds match scipy and rliable, and have properties that hold for any scores.

rliable is an extra (``pip install -e '.[rliable]'``). For machines without it, its values on ``X`` and ``Y`` are recorded here, computed by
rliable 1.2.0 (arch 7.2.0):

    from rliable import library, metrics
    iqm = lambda s: np.array([metrics.aggregate_iqm(s)])
    library.get_interval_estimates({"x": X, "x1": X[:, :1]}, iqm, reps=100_000, random_state=RandomState(0))
    better = lambda x, y: np.array([metrics.probability_of_improvement(x, y)])
    library.get_interval_estimates({"p": (X, Y), "p1": (X[:, :1], Y[:, :1])}, better, reps=20_000, random_state=RandomState(0))
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from jepakit.report.statistics import (
    Interval,
    area_under_curve,
    bootstrap_interval,
    difference,
    estimate,
    final_return,
    held_out_return,
    improvement,
    interquartile_mean,
    mean_curve,
    probability_of_improvement,
    reached,
    share_interval,
    steps_to_threshold,
)

if TYPE_CHECKING:
    from tests.report.conftest import MakeRun

X = np.array([[318.6, 21.5], [296.7, 24.5], [373.3, 22.0], [289.3, 328.7], [276.9, 23.1]])  # [runs, tasks]
Y = np.array([[328.7, 21.5], [199.0, 23.0], [415.0, 26.0], [374.0, 25.0]])

SCORES = st.lists(st.integers(-500, 500).map(float), min_size=2, max_size=9)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def rliable() -> Any:
    """The package. If it is missing, or pandas is too new for it, the test is skipped with a reason."""
    try:
        from rliable import library, metrics
    except (ImportError, TypeError) as error:
        pytest.skip(f"rliable cannot be imported ({error}): pip install -e '.[rliable]'")
    return SimpleNamespace(library=library, metrics=metrics)


def table(scores: list[float]) -> np.ndarray:
    return np.array(scores)[:, None]


@pytest.mark.parametrize("runs", range(1, 14))
@pytest.mark.parametrize("tasks", [1, 3])
def test_interquartile_mean_matches_scipys_trimmed_mean(runs: int, tasks: int, random: np.random.Generator) -> None:
    scores = random.normal(size=(runs, tasks))
    assert interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25, axis=None), abs=1e-12)
    many = random.normal(size=(6, runs, tasks))  # leading dimensions are kept apart
    assert np.array_equal(interquartile_mean(many), [interquartile_mean(each) for each in many])


def test_interquartile_mean_of_five_leaves_out_the_best_and_the_worst() -> None:
    assert estimate([0.0, 1.0, 2.0, 6.0, 1e6]).value == 3.0
    assert estimate([0.0, 3.0, 300.0]).value == 101.0


def test_estimates_match_rliables_recorded_values() -> None:
    assert estimate(X).value == pytest.approx(204.85)
    assert estimate(Y).value == pytest.approx(144.675)
    assert estimate(X[:, 0]).value == pytest.approx(301.5333333)
    assert probability_of_improvement(X, Y).value == pytest.approx(0.3875)
    assert probability_of_improvement(X[:, 0], Y[:, 0]).value == pytest.approx(0.3)


def test_intervals_match_rliables_up_to_resampling_noise() -> None:
    assert estimate(X).interval == pytest.approx((151.85, 308.45), rel=0.02)
    assert estimate(X[:, 0]).interval == pytest.approx((281.0333333, 355.0666667), rel=0.02)
    assert probability_of_improvement(X, Y).interval == pytest.approx((0.1, 0.6875), abs=0.03)
    assert probability_of_improvement(X[:, 0], Y[:, 0]).interval == pytest.approx((0.0, 0.75), abs=0.03)


@pytest.mark.parametrize(("runs", "others", "tasks"), [(1, 3, 1), (3, 5, 1), (5, 4, 2), (10, 9, 3)])
def test_estimates_and_intervals_match_rliable(rliable: Any, random: np.random.Generator, runs: int, others: int, tasks: int) -> None:
    x, y = (random.normal(100, 40, size=(count, tasks)).round(-1) for count in (runs, others))  # rounded: with ties
    assert estimate(x).value == pytest.approx(rliable.metrics.aggregate_iqm(x))
    assert probability_of_improvement(x, y).value == pytest.approx(rliable.metrics.probability_of_improvement(x, y))
    if runs > 1:
        np.random.seed(0)  # rliable's random state
        aggregate = rliable.metrics.aggregate_iqm
        _, intervals = rliable.library.get_interval_estimates({"x": x}, lambda scores: np.array([aggregate(scores)]), reps=2000)
        low, high = intervals["x"][:, 0]
        assert estimate(x).interval == pytest.approx((low, high), abs=0.06 * (high - low))


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_interval_of_one_sample_matches_scipy(confidence: float, random: np.random.Generator) -> None:
    scores = random.normal(100, 30, size=12)
    theirs = scipy.stats.bootstrap(
        (scores,),
        lambda sample, axis: scipy.stats.trim_mean(sample, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        confidence_level=confidence,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert bootstrap_interval(scores, confidence=confidence) == pytest.approx(tuple(theirs), abs=1.0)


def test_the_interval_of_a_difference_matches_scipy(random: np.random.Generator) -> None:
    x, y = random.normal(100, 30, size=9), random.normal(80, 10, size=14)
    theirs = scipy.stats.bootstrap(
        (x, y),
        lambda x, y, axis: scipy.stats.trim_mean(x, 0.25, axis=axis) - scipy.stats.trim_mean(y, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert bootstrap_interval(x, y, statistic=difference) == pytest.approx(tuple(theirs), abs=1.5)
    # each sample is resampled separately, so the difference of a sample with itself is not always zero
    assert bootstrap_interval(x, x, statistic=difference) != Interval(0.0, 0.0)


@given(SCORES, SCORES)
def test_probability_of_improvement_matches_mann_whitney(x: list[float], y: list[float]) -> None:
    u = scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic
    assert improvement(table(x), table(y)) == pytest.approx(u / (len(x) * len(y)))
    assert improvement(table(x), table(y)) + improvement(table(y), table(x)) == pytest.approx(1)


def test_tasks_are_resampled_as_strata() -> None:
    scores = np.stack([np.zeros(6), np.full(6, 1000.0)], axis=1)  # two tasks without variance that differ a lot
    assert bootstrap_interval(scores) == Interval(500.0, 500.0)
    better, worse = scores + np.array([1, -1]), scores  # better in the one task, worse in the other
    assert probability_of_improvement(better, worse) == (0.5, (0.5, 0.5))
    # the runs of each task are drawn independently
    opposed = np.stack([np.arange(6.0), -np.arange(6.0)], axis=1)
    assert bootstrap_interval(opposed, statistic=lambda scores: scores.mean(axis=(-2, -1))) != Interval(0.0, 0.0)


@given(SCORES, st.integers(-100, 100), st.sampled_from([0.25, 2.0, 8.0]), st.randoms())
def test_an_estimate_lies_within_the_scores_and_scales_with_them(scores: list[float], shift: int, scale: float, random: object) -> None:
    value, interval = estimate(scores).value, bootstrap_interval(scores, resamples=200)
    assert interval
    assert min(scores) <= interval.low <= interval.high <= max(scores)
    assert min(scores) <= value <= max(scores)
    shuffled = list(scores)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert estimate(shuffled).value == pytest.approx(value)
    moved = [scale * score + shift for score in scores]
    assert estimate(moved).value == pytest.approx(scale * value + shift, abs=1e-6)
    assert bootstrap_interval(moved, resamples=200) == pytest.approx([scale * end + shift for end in interval], abs=1e-6)


def test_an_interval_is_reproducible_and_a_single_run_has_none(random: np.random.Generator) -> None:
    scores = random.normal(size=20)
    assert bootstrap_interval(scores) == bootstrap_interval(scores)
    assert bootstrap_interval(scores, seed=1) != bootstrap_interval(scores)
    assert estimate([3.0]) == (3.0, None)
    assert probability_of_improvement([3.0], [1.0, 2.0]) == (1.0, None)
    assert estimate([3.0, 3.0]) == (3.0, (3.0, 3.0))


@pytest.mark.parametrize(("runs", "least", "most"), [(5, 0.85, 0.96), (20, 0.91, 0.98)])
def test_the_interval_has_about_its_nominal_coverage(runs: int, least: float, most: float) -> None:
    random = np.random.default_rng(1)
    intervals = [bootstrap_interval(random.normal(size=runs), resamples=400) for _ in range(600)]
    assert least < np.mean([interval is not None and interval.low <= 0 <= interval.high for interval in intervals]) < most


def test_final_return_auc_and_held_out_return_of_a_run(make_run: MakeRun) -> None:
    run = make_run(returns=[10.0, 40.0, 31.0], held_out=450.0)
    assert (final_return(run), area_under_curve(run), held_out_return(run)) == (31.0, 27.0, 450.0)
    assert held_out_return(make_run()) is None


def test_steps_to_a_threshold_and_their_median(make_run: MakeRun) -> None:
    fast, slow = make_run(returns=[float("nan"), 195.0, 20.0, 300.0]), make_run(returns=[1.0, 2.0, 3.0, 195.1])
    never = make_run(returns=[1.0, 2.0, 3.0, 194.9])
    assert [steps_to_threshold(run, 195) for run in (fast, slow, never)] == [2000, 4000, None]
    assert reached([fast, slow], 195) == (2, 2, 3000)
    assert reached([fast, slow, never], 195) == (2, 3, 4000)
    assert reached([fast, never], 195) == (1, 2, None)
    assert reached([never], 195) == (0, 1, None)


def test_a_mean_curve_is_the_estimate_at_each_point(make_run: MakeRun, random: np.random.Generator) -> None:
    runs = [make_run(seed=seed, returns=random.uniform(0, 500, size=7).tolist()) for seed in range(5)]
    curve = mean_curve(runs, "return_last_100")
    assert curve is not None
    assert curve.env_steps.tolist() == [1000 * step for step in range(1, 8)]
    for point, column in enumerate(np.stack([run.curves["return_last_100"] for run in runs], axis=1)):
        value, interval = estimate(column)
        assert (curve.value[point], (curve.low[point], curve.high[point])) == (value, interval)


def test_a_mean_curve_covers_only_the_steps_that_all_runs_have(make_run: MakeRun) -> None:
    late = make_run(returns=[float("nan"), 20.0, 30.0, 40.0])
    short = make_run(returns=[0.0, 0.0, 0.0])
    coarse = make_run(returns=[0.0, 10.0])
    coarse.curves["env_steps"][:] = [500, 3500]
    curve = mean_curve([late, short, coarse], "return_last_100")
    assert curve is not None
    assert curve.env_steps.tolist() == [2000, 3000]
    assert curve.value == pytest.approx([(20 + 0 + 5) / 3, (30 + 0 + 10 * 2500 / 3000) / 3])
    assert mean_curve([short, make_run(returns=[float("nan")])], "return_last_100") is None
    assert mean_curve([short], "loss/jepa") is None
    alone = mean_curve([short], "return_last_100")
    assert alone is not None
    assert np.isnan([alone.low, alone.high]).all()


def test_a_long_mean_curve_is_thinned_and_keeps_both_ends(make_run: MakeRun) -> None:
    curve = mean_curve([make_run(returns=list(map(float, range(5000))))], "return_last_100")
    assert curve is not None
    assert 200 < len(curve.env_steps) <= 300
    assert curve.env_steps[[0, -1]].tolist() == [1000, 5_000_000]
    assert curve.value[[0, -1]].tolist() == [0, 4999]


def test_the_interval_of_a_share_matches_scipys_wilson_score() -> None:
    for hits, trials in ((0, 10), (3, 10), (87, 100), (300, 300)):
        theirs = scipy.stats.binomtest(hits, trials).proportion_ci(method="wilson")
        assert share_interval(hits, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
