"""The page's tables are those of the recorded runs."""

from __future__ import annotations

from typing import Any

from benchmarks.dmc100k import RESULTS, WITH, WITHOUT, recorded, tables
from benchmarks.tables import filled


def run(case: str, seed: int, mean: float) -> dict[str, Any]:
    evaluation = {"greedy": {"mean": mean}, "sampled": {"mean": mean - 1}}
    recipe = {"env": {"domain": "walker", "task": "walk"}, "case": case}
    summary = {"return_last_20": 5.4, "embedding_rank": 7.25}
    return {"id": f"{case[:5]}{seed}", "seed": seed, "recipe": recipe, "evaluation": evaluation, "summary": summary}


def test_the_pages_tables_are_those_of_the_recorded_runs() -> None:
    page = (RESULTS / "dmc100k.md").read_text(encoding="utf-8")
    assert page == filled(page, tables(recorded(RESULTS / "dmc100k" / "runs")))


def test_means_and_deviations_stand_beside_those_of_their_task() -> None:
    runs = [run(WITH, 0, 100.0), run(WITH, 1, 300.0), run(WITHOUT, 0, 50.0), run(WITHOUT, 1, 50.0)]
    row = "| walker-walk | 2 | **200 ± 141** | 50 ± 0 | 150 [50, 250] | 403 ± 24 | 612 ± 164 | 460 ± 173 | 643 ± 114 |"
    assert row in tables(runs)["published"]
    assert "| walker-walk | with JEPA | 1 | 300 | 299 | 5 | 7.2 | [with 1](dmc100k/runs/with 1.json) |" in tables(runs)["runs"]
    assert "| walker-walk | 1 | **100** | 50 | 50 |" in tables([runs[0], runs[2]])["published"], "one seed has no deviation and no interval"
