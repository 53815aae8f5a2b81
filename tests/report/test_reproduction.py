"""A reproduction's page has all four configurations and every claim, marks quick results, and compares with recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jepakit.report.reproduction import Reproduction, compare_with
from jepakit.report.runs import Run

REGULARIZED = [{"kind": "variance", "weight": 1.0}]
FOUR: list[tuple[dict[str, Any], float]] = [
    ({"jepa": None}, 150.0),
    ({}, 400.0),
    ({"algorithm.gradients_to_encoder": False}, 22.0),
    ({"algorithm.gradients_to_encoder": False, "regularizers": REGULARIZED}, 120.0),
]


@pytest.fixture
def runs(make_run: Any) -> list[Run]:
    """Runs of Figure 3 with the paper's results, three seeds each."""

    def curve(end: float, seed: int) -> list[float]:
        return [20.0 + (end + seed - 20.0) * batch / 19 for batch in range(20)]

    made = [make_run(changes, seed=seed, returns=curve(end, seed)) for changes, end in FOUR for seed in range(3)]
    for run in made:
        run.curves["loss/jepa"] = np.full(20, 2.0 if run.recipe["jepa"] else np.nan)
    return made


def test_the_page_has_every_configuration_and_claim(runs: list[Run], tmp_path: Path) -> None:
    written = Reproduction.of(list(reversed(runs)), [], quick=False).write(tmp_path, ["beside the recorded runs: a line"])

    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    page = (tmp_path / "figure3.md").read_text()
    places = [page.index(f"| {name}") for name in ("Ĵ∇R̂ baseline", "J∇R̂ JEPA and RL", "J∇̂R̂ JEPA alone", "J∇̂R JEPA and Eq. 2")]
    assert places == sorted(places)
    assert "QUICK" not in page
    assert "a line" in page
    content = json.loads((tmp_path / "figure3.json").read_text())
    assert content["configurations"]["J∇R̂ JEPA and RL gradients"]["final_return"]["value"] == 401
    assert content["configurations"]["J∇R̂ JEPA and RL gradients"]["seeds"] == [0, 1, 2]
    verdicts = {claim["claim"]: claim["verdict"] for claim in content["claims"]}
    assert verdicts["the best results"] == verdicts["the reward increases much faster"] == "held"
    assert verdicts["in some cases recovers when trained for longer"] == "undecided"


def test_quick_results_are_marked_everywhere(runs: list[Run], tmp_path: Path) -> None:
    found = Reproduction.of(runs, [], quick=True)
    found.write(tmp_path, [])

    page = (tmp_path / "figure3.md").read_text()
    assert page.startswith("# JEPA for RL, Figure 3 (QUICK")
    assert "verdict (QUICK)" in page
    assert "QUICK" in (tmp_path / "figure3.svg").read_text()
    assert json.loads((tmp_path / "figure3.json").read_text())["quick"] is True
    assert found.tables()[-1][0][-1] == "verdict (QUICK)"


def test_deviations_from_the_recorded_results_are_reported(runs: list[Run], tmp_path: Path) -> None:
    recorded = Reproduction.of(runs, [], quick=False)
    recorded.write(tmp_path, [])
    assert not any("NOT" in line for line in compare_with(tmp_path / "figure3.json", recorded.rows))

    others = [run for run in runs if run.recipe["jepa"]]
    worse = Reproduction.of([*others, *(_with_return(run, 30.0 + run.seed) for run in runs if not run.recipe["jepa"])], [], quick=False)
    said = [line for line in compare_with(tmp_path / "figure3.json", worse.rows) if "NOT" in line]
    assert [line.partition(":")[0] for line in said] == ["Ĵ∇R̂ baseline final return"]


def _with_return(run: Run, final: float) -> Run:
    return Run(**vars(run) | {"summary": run.summary | {"return_last_100": final}})
