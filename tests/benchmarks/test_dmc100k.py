"""The page's tables are those of the recorded runs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.dmc100k import CASES, MOTION, RESULTS, WITH, WITHOUT, case_of, recorded, tables
from benchmarks.tables import filled


def run(case: str, seed: int, mean: float, case_in_the_recipe: bool = True) -> dict[str, Any]:
    evaluation = {"greedy": {"mean": mean}, "sampled": {"mean": mean - 1}}
    jepa = None if case.startswith("without JEPA") else {"weight": 1.0}
    encoder = {"kind": "nature_cnn", "motion": 2.0 if "motion" in case else None}
    named = case if case_in_the_recipe else None
    recipe = {"env": {"domain": "walker", "task": "walk"}, "case": named, "jepa": jepa, "encoder": encoder}
    summary = {"return_last_20": 5.4, "embedding_rank": 7.25}
    return {"id": f"{case[:5]}{seed}", "seed": seed, "recipe": recipe, "evaluation": evaluation, "summary": summary}


def test_the_pages_tables_are_those_of_the_recorded_runs() -> None:
    page = (RESULTS / "dmc100k.md").read_text(encoding="utf-8")
    assert page == filled(page, tables(recorded(RESULTS / "dmc100k" / "runs")))


def test_means_and_deviations_stand_beside_those_of_their_task() -> None:
    runs = [run(WITH, 0, 100.0), run(WITH, 1, 300.0), run(WITHOUT, 0, 50.0), run(WITHOUT, 1, 50.0), run(MOTION, 0, 400.0)]
    row = "| walker-walk | 400 (1) | 200 ± 141 (2) | 50 ± 0 (2) | 403 ± 24 | 612 ± 164 | 460 ± 173 | 643 ± 114 |"
    assert row in tables(runs)["published"]
    assert "| walker-walk | with JEPA | 1 | 300 | 299 | 5 | 7.2 | [with 1](dmc100k/runs/with 1.json) |" in tables(runs)["runs"]
    assert "| walker-walk | 150 [50, 250] | 200 |" in tables(runs)["added"]
    assert "| walker-walk | 50 |" in tables([runs[0], runs[2]])["added"], "one seed has no interval"


@pytest.mark.parametrize("case", CASES)
def test_a_run_started_by_hand_counts_for_the_case_that_its_settings_are(case: str) -> None:
    assert case_of(run(case, 0, 1.0, case_in_the_recipe=False)) == case
