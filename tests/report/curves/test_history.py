"""A run's metrics are read as they are, from a run in any state and from damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import UserError
from jepakit.report.curves.history import MOST_METRICS, Series, read_history
from jepakit.report.curves.metrics import panels


def write(folder: Path, *records: object, tail: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records) + tail)
    return folder


def test_every_number_is_a_curve_and_a_line_that_is_being_written_is_not(tmp_path: Path) -> None:
    run = write(
        tmp_path / "run",
        {"phase": "episode", "env_steps": 7, "episode_return": 3.0, "terminated": True},
        {"phase": "train", "env_steps": 10, "loss/jepa": 2.5, "embedding/rank": None, "wall_s": 1.0},
        {"phase": "eval", "env_steps": 10, "greedy": 4, "eval/sampled": 3, "time/eval": 2},
        {"phase": "diagnostics", "env_steps": 10, "policy/kl": 0.5, "spectrum/shares": [0.5, 0.5]},
        {"phase": "train", "env_steps": 20, "loss/jepa": 1.5, "embedding/rank": 3.0, "huge": 10**400, "larger": -1e308},
        tail='{"phase": "train", "env_steps": 30, "loss/j',
    )
    found = {name: [series.env_steps.tolist(), series.values.tolist()] for name, series in read_history(run).items()}
    assert found == {
        "episode_return": [[7], [3]],
        "loss/jepa": [[10, 20], [2.5, 1.5]],
        "embedding/rank": [[20], [3]],
        "eval/greedy": [[10], [4]],
        "eval/sampled": [[10], [3]],
        "time/eval": [[10], [2]],
        "policy/kl": [[10], [0.5]],
    }


@pytest.mark.parametrize(
    "line", ["[1]", '{"phase": "train"}', "{", "[" * 100_000, '{"env_steps": "7"}', '{"env_steps": NaN, "a": 1}'], ids=range(6)
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl:2 is corrupt"):
        read_history(write(tmp_path / "run", {"env_steps": 1}, tail=f"{line}\n"))


def test_a_file_with_more_names_than_any_run_writes_is_refused(tmp_path: Path) -> None:
    record = {"env_steps": 1} | {f"x{number}": 1 for number in range(MOST_METRICS + 1)}
    with pytest.raises(UserError, match="different metrics"):
        read_history(write(tmp_path / "run", record))


def test_thinning_keeps_peaks_and_ends() -> None:
    values = np.zeros(10_000)
    values[[0, 4321, 9999]] = 5, -7, 3
    thin = Series(np.arange(10_000.0), values).thinned(100)
    assert len(thin.values) <= 102
    assert {(float(steps), float(value)) for steps, value in zip(*thin, strict=True) if value} == {(0, 5), (4321, -7), (9999, 3)}


def test_metrics_of_one_kind_share_a_panel_and_panels_are_grouped() -> None:
    names = ["grad/norm/encoder", "loss/jepa", "grad/norm/actor", "embedding/variance", "new", "updates", "return_last_100"]
    names += ["update_ratio/encoder", "update_ratio/predictor", "time/eval", "policy/kl"]
    point = Series(np.array([1.0]), np.array([1.0]))
    found = [(panel.group, panel.metrics) for panel in panels([dict.fromkeys(names, point)])]
    assert found == [
        ("What the embedding holds", ("embedding/variance",)),
        ("Losses", ("loss/jepa",)),
        ("Diagnostics", ("policy/kl",)),
        ("Diagnostics", ("grad/norm/encoder", "grad/norm/actor")),
        ("Diagnostics", ("new",)),
        ("Diagnostics", ("update_ratio/encoder", "update_ratio/predictor")),
        ("Time", ("time/eval",)),
    ]


def test_the_lag_of_a_collector_without_lag_is_not_drawn() -> None:
    none, some = (Series(np.array([1.0]), np.array([value])) for value in (0.0, 2.0))
    assert panels([{"collector/lag_updates": none}]) == []
    assert [panel.label for panel in panels([{"collector/lag_updates": some}])] == ["lag of what acted: updates, mean"]


def test_dots_are_thinned_evenly() -> None:
    values = np.random.default_rng(0).normal(100, 10, 20_000)
    dots = Series(np.arange(20_000.0), values).every(20)
    assert len(dots.values) == 1_000
    assert dots.values.std() == pytest.approx(10, rel=0.1)
