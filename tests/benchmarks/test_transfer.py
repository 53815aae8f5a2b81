"""Steps to solve a changed task, and what a pretrained encoder saves of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.transfer import SCRATCH, compared, draw, pooled, steps_to_solve


def run(begun: str, seed: int, steps: int | None) -> dict[str, Any]:
    return {"task": "pole", "begun": begun, "seed": seed, "steps_to_475": steps, "env_steps": 40_000, "return_last_100": 0.0, "run": "r"}


ROWS = [run(SCRATCH, seed, steps) for seed, steps in enumerate((30_000, 32_000, None))] + [
    run("random play", seed, steps) for seed, steps in enumerate((10_000, 12_000, 20_000))
]


def test_a_run_that_never_solves_the_task_counts_with_all_its_steps() -> None:
    scratch, pretrained = compared(ROWS)
    assert (scratch["solved"], pretrained["solved"]) == (2, 3)
    assert scratch["steps"] == pytest.approx((30_000 + 32_000 + 40_000) / 3, rel=0.05)
    assert pretrained["fewer_than_scratch"] == pytest.approx(scratch["steps"] - pretrained["steps"])
    low, high = pretrained["fewer_interval"]
    assert 0 < low <= pretrained["fewer_than_scratch"] <= high


def test_over_all_tasks_every_task_counts_the_same() -> None:
    easy = [row | {"task": "gravity", "steps_to_475": 1_000 if row["begun"] == SCRATCH else 2_000} for row in ROWS]
    scratch, pretrained = pooled(ROWS + easy)
    assert (scratch["runs"], scratch["solved"]) == (6, 5)
    assert scratch["steps"] == pytest.approx(((30_000 + 32_000 + 40_000) / 3 + 1_000) / 2)
    assert pretrained["fewer_than_scratch"] == pytest.approx((34_000 - 14_000 - 1_000) / 2)
    low, high = pretrained["fewer_interval"]
    assert 0 < low <= pretrained["fewer_than_scratch"] <= high


def test_the_first_evaluation_above_the_threshold_counts(tmp_path: Path) -> None:
    returns = {3_000: 470.0, 6_000: 480.0, 9_000: 300.0, 12_000: 500.0}
    records = [{"phase": "eval", "env_steps": steps, "eval/return_greedy": greedy} for steps, greedy in returns.items()]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in [{"phase": "train"}, *records]))
    assert steps_to_solve(tmp_path) == 6_000


def test_the_figure_shows_every_run_and_hollow_those_that_failed(tmp_path: Path) -> None:
    draw(ROWS, compared(ROWS), tmp_path / "transfer.svg")
    drawn = (tmp_path / "transfer.svg").read_text()
    assert "<!-- a pole of twice the length -->" in drawn
    assert drawn.count("fill: #ffffff; stroke: #0072b2") == 1
