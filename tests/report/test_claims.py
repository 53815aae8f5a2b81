"""Verdicts on the paper's claims. Each claim can be held, not held or undecided, and names its configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jepakit.report.claims import BASELINE, CLAIMS, J_ALONE, J_ALONE_WHITE, J_GRAD, J_REG, RECOVERY, Judged, judge, symbol
from jepakit.report.runs import Run
from jepakit.report.statistics import share_interval

STEPS = np.arange(1, 101) * 1000.0


def run(returns: float, *, variance: float = 0.3, variance_end: float | None = None, jepa: float = 1.0, shape: float = 1.0) -> Run:
    """A run whose return goes from 20 to ``returns`` and whose variance goes (geometrically) from ``variance`` to ``variance_end``."""
    progress = (STEPS - STEPS[0]) / (STEPS[-1] - STEPS[0])
    end = variance if variance_end is None else variance_end
    curve = 20 + (returns - 20) * progress**shape
    curves = {
        "env_steps": STEPS,
        "return_last_100": curve,
        "embedding/variance": variance * (end / variance) ** progress,
        "embedding/mean_square": np.ones_like(STEPS),
        "embedding/rank": np.full_like(STEPS, 5.0),
        "loss/jepa": np.full_like(STEPS, jepa),
    }
    summary = {
        "return_last_100": returns,
        "return_auc": float(curve.mean()),
        "embedding_variance": end,
        "embedding_rank": 3.5,
        "collapsed": end < 1e-7,
    }
    return Run(f"{returns}{variance}", "r", 0, {}, summary, curves, None, {})


def five(returns: float, spread: float = 1.0, **fields: Any) -> list[Run]:
    return [run(returns + spread * offset, **fields) for offset in (-2, -1, 0, 1, 2)]


def verdicts(judged: list[Judged]) -> dict[tuple[str, str], str]:
    return {(one.claim.configuration, one.claim.text): one.verdict for one in judged}


AS_THE_PAPER_HAS_IT = {
    BASELINE: five(150),
    J_GRAD: five(400),
    J_ALONE: five(22, variance_end=1e-10, jepa=1e-4),
    J_REG: five(120),
}
#: A counterexample to each claim: the configuration to replace, and the runs with which the claim does not hold.
OTHERWISE = {
    (BASELINE, "learns some advantageous behaviour …"): {BASELINE: five(21, spread=0.1)},
    (BASELINE, "… albeit in a limited fashion"): {BASELINE: five(490)},
    (BASELINE, "embedding variance between 0 and 1"): {BASELINE: five(150, variance=5.0)},
    (J_GRAD, "the best results"): {J_REG: five(450)},
    (J_GRAD, "the reward increases much faster"): {BASELINE: five(400, shape=0.1)},
    (J_GRAD, "… and does not plateau"): {J_GRAD: five(400, shape=0.0)},
    (J_GRAD, "reasonable embedding variances"): {J_GRAD: five(400, variance=1e-9)},
    (J_ALONE, "collapses: variance below 1e-7"): {J_ALONE: five(22)},
    (J_ALONE, "an ever-decreasing variance"): {J_ALONE: five(22, variance=1e-4, variance_end=1.0)},
    (J_ALONE, "a low JEPA loss"): {J_ALONE: five(22, jepa=3.0)},
    (J_ALONE, "the return never increases"): {J_ALONE: five(300)},
    (J_REG, "the regularizer prevents collapse"): {J_REG: five(120, variance_end=1e-9)},
    (J_REG, "the actor can learn"): {J_REG: five(22, spread=0.1)},
    (J_REG, "… much slower than with gradients"): {J_REG: five(450, shape=0.1)},
}


def test_the_papers_own_results_hold_every_claim() -> None:
    recovered = [_longer(run(22, variance=1e-9, variance_end=1.0)), *(_longer(run(22, variance=1e-9)) for _ in range(4))]
    judged = judge(AS_THE_PAPER_HAS_IT, recovered)
    found = verdicts(judged)
    assert {found[claim.configuration, claim.text] for claim in (*CLAIMS, RECOVERY)} == {"held"}, found


def test_claims_about_j_alone_are_also_judged_on_the_longer_runs() -> None:
    alone = [claim.text for claim in CLAIMS if claim.configuration == J_ALONE]
    collapsed = AS_THE_PAPER_HAS_IT | {J_ALONE: five(300)}
    judged = judge(collapsed, AS_THE_PAPER_HAS_IT[J_ALONE])
    found = verdicts(judged)
    assert [found[J_ALONE, text] for text in alone] != ["held"] * len(alone)
    assert [found[J_ALONE_WHITE, text] for text in alone] == ["held"] * len(alone)
    assert len(judged) == len(CLAIMS) + len(alone) + 1


@pytest.mark.parametrize("claim", OTHERWISE, ids=lambda claim: claim[1])
def test_each_claim_can_fail(claim: tuple[str, str]) -> None:
    assert verdicts(judge(AS_THE_PAPER_HAS_IT | OTHERWISE[claim]))[claim] == "not held"


def test_every_claim_has_a_counterexample() -> None:
    assert set(OTHERWISE) == {(claim.configuration, claim.text) for claim in CLAIMS}


def test_an_interval_that_covers_both_outcomes_is_undecided() -> None:
    mixed = AS_THE_PAPER_HAS_IT | {J_GRAD: five(150, spread=60)}
    found = verdicts(judge(mixed))
    assert found[J_GRAD, "the best results"] == "undecided"
    assert found[J_GRAD, "the reward increases much faster"] == "undecided"


def test_a_run_of_three_records_is_judged_too() -> None:
    def cut(whole: Run) -> Run:
        return Run(whole.id, "r", 0, {}, whole.summary, {name: curve[[0, 49, 99]] for name, curve in whole.curves.items()}, None, {})

    judged = judge({name: [cut(whole) for whole in runs] for name, runs in AS_THE_PAPER_HAS_IT.items()})
    assert not any(np.isnan(one.estimate.value) for one in judged if one.estimate)


def test_one_run_or_none_is_undecided() -> None:
    one_each = {name: runs[:1] for name, runs in AS_THE_PAPER_HAS_IT.items()}
    for runs in (one_each, {}, {J_GRAD: AS_THE_PAPER_HAS_IT[J_GRAD]}):
        assert verdicts(judge(runs))[BASELINE, "learns some advantageous behaviour …"] == "undecided"


def _longer(short: Run) -> Run:
    """A run three times as long as ``short``. It is collapsed for its first half, then has the variance at which ``short`` ended."""
    steps = np.arange(1, 301) * 1000.0
    variance = np.where(steps <= 150_000, 1e-9, short.curves["embedding/variance"][-1])
    curves = {name: np.full_like(steps, 1.0) for name in short.curves} | {"env_steps": steps, "embedding/variance": variance}
    return Run(short.id, "r", 0, {}, short.summary, curves, None, {})


@pytest.mark.parametrize(
    ("ends", "verdict"), [([1.0, 1e-9, 1e-9], "held"), ([1e-9] * 5, "undecided"), ([], "undecided")], ids=["one", "none", "no runs"]
)
def test_one_recovered_run_holds_the_recovery_claim(ends: list[float], verdict: str) -> None:
    longer = [_longer(run(22, variance=end)) for end in ends]
    assert verdicts(judge(AS_THE_PAPER_HAS_IT, longer))[J_ALONE_WHITE, RECOVERY.text] == verdict


def test_a_run_that_never_collapsed_does_not_count_as_recovered() -> None:
    healthy = [run(300) for _ in range(5)]
    found = judge(AS_THE_PAPER_HAS_IT, healthy)[-1]
    assert found.verdict == "undecided"
    assert "0 of them collapsed" in found.note


@pytest.mark.parametrize(
    ("jepa", "gradients", "regularizers", "expected"),
    [
        (None, True, [], "Ĵ∇R̂"),
        ({"weight": 1.0}, True, [], "J∇R̂"),
        ({"weight": 1.0}, False, [], "J∇̂R̂"),
        ({"weight": 1.0}, False, [{"kind": "variance", "weight": 1.0}], "J∇̂R"),
        ({"weight": 0.0}, False, [{"kind": "variance", "weight": 0.0}], "Ĵ∇̂R̂"),
        (None, True, [{"kind": "vicreg", "weight": 1.0}], "Ĵ∇R̂"),
    ],
)
def test_the_symbol_of_a_configuration(jepa: Any, gradients: bool, regularizers: list[Any], expected: str) -> None:
    recipe = {"jepa": jepa, "algorithm": {"gradients_to_encoder": gradients}, "regularizers": regularizers}
    assert symbol(recipe) == expected


def test_the_wilson_interval_matches_r() -> None:
    """1 of 5 and 0 of 5, as R's `prop.test(x, 5, correct = FALSE)` computes them."""
    assert share_interval(1, 5) == pytest.approx((0.0362, 0.6245), abs=1e-3)
    assert share_interval(0, 5) == pytest.approx((0.0, 0.4345), abs=1e-3)
