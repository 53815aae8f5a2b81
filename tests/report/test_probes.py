"""The probes of several runs: by configuration, as tables and as one record."""

from __future__ import annotations

import json
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jepakit import UserError
from jepakit.report.probes import Probed, ahead_table, known_table, read_probe, summaries, write_probes
from jepakit.report.runs import Run


def probed(case: str, seed: int, position: float | None, ahead: bool = True, variables: int = 1) -> Probed:
    dim = {"JEPA": 64, "none": 32}[case]
    recipe = {"name": "r", "seed": seed, "case": case, "total_steps": 100, "encoder": {"kind": "vit", "dim": dim}}
    summary = {"return_last_100": -200.0 + seed, "embedding_variance": 0.1, "embedding_rank": 3.0, "collapsed": False}
    r2 = {f"position{n or ''}": position for n in range(variables)} | {"mean": position}
    steps = {name: [value, None] for name, value in r2.items()}
    probe: dict[str, Any] = {
        "env_steps": 100,
        "best": False,
        "seed": 1,
        "policy": "sampled",
        "episodes": {"fit": 4, "held_out": 2},
        "observations": {"fit": 40, "held_out": 20},
        "r2": {"linear": r2, "mlp": r2},
        "ahead": {"k": [1, 2], "predicted": steps, "encoded": steps, "copied": steps} if ahead else None,
    }
    run = Run(f"{seed:010x}", "r", seed, recipe, summary, {"env_steps": np.array([100.0])}, None, {})
    return Probed(run, probe)


@pytest.fixture
def several() -> list[Probed]:
    return [probed("JEPA", 1, 0.9), probed("JEPA", 2, 0.7), probed("none", 3, -1000.0, ahead=False), probed("JEPA", 4, 0.8)]


def test_tables_have_a_row_for_each_case(several: list[Probed]) -> None:
    found = summaries(several)
    headings, rows = known_table(found, "linear", ranges=True)
    assert headings == ["configuration", "runs", "return", "position", "mean"]
    assert rows == [
        ["JEPA", "3", "-197.7 [-199.0, -196.0]", "0.80 [0.70, 0.90]", "0.80 [0.70, 0.90]"],
        ["none", "1", "-197.0", "< -100", "< -100"],
    ]
    headings, rows = ahead_table(found, ranges=False)
    assert headings == ["configuration", "read off", "k=1", "k=2"]
    assert [row[1:] for row in rows] == [[name, "0.80", "–"] for name in ("predicted ŝ_y", "encoded then", "copied from now")]


def test_a_record_holds_every_run_and_is_read_back(several: list[Probed], tmp_path: Path) -> None:
    data, page = write_probes(summaries(several), tmp_path / "new" / "folder")
    entries = json.loads(data.read_text())["runs"]
    assert [(entry["configuration"], entry["seed"]) for entry in entries] == [("JEPA", 1), ("JEPA", 2), ("JEPA", 4), ("none", 3)]
    assert entries[0]["probe"] == several[0].probe
    assert len(data.read_text().splitlines()) == 2 + len(several)  # a line a run, for diffs
    assert "| JEPA | 3 |" in page.read_text()
    assert "## k predicted steps ahead: position" in page.read_text()
    (tmp_path / "probe.json").write_text(json.dumps(several[0].probe))
    assert read_probe(tmp_path) == several[0].probe
    assert read_probe(tmp_path, "random") is None


def test_many_variables_are_in_the_record_alone(tmp_path: Path) -> None:
    found = summaries([probed("JEPA", 1, 0.5, variables=128)])
    assert known_table(found, "linear", ranges=False)[0] == ["configuration", "runs", "return", "mean"]
    data, page = write_probes(found, tmp_path)
    assert "There are 128 state variables" in page.read_text()
    assert len(json.loads(data.read_text())["runs"][0]["probe"]["r2"]["mlp"]) == 129


def test_runs_without_a_value_are_left_out_of_its_mean() -> None:
    _, rows = known_table(summaries([probed("JEPA", 1, None), probed("JEPA", 2, 0.5)]), "mlp", ranges=True)
    assert rows[0][3:] == ["0.50", "0.50"]
    _, rows = known_table(summaries([probed("JEPA", 1, None)]), "mlp", ranges=True)
    assert rows[0][3:] == ["–", "–"]


def test_a_folder_that_cannot_be_written_is_an_error(several: list[Probed], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write to"):
        write_probes(summaries(several), tmp_path / "file")


@pytest.mark.parametrize("content", ["{", "[]", "1e999", '{"env_steps": -1}', "[" * 100_000])
def test_a_corrupt_probe_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "probe.json").write_text(content)
    with pytest.raises(UserError, match=r"probe.json is corrupt"):
        read_probe(tmp_path)


def test_a_probe_file_whose_lists_do_not_fit_is_an_error(tmp_path: Path) -> None:
    probe = json.loads(json.dumps(probed("JEPA", 1, 0.5).probe))
    probe["ahead"]["copied"]["position"].append(1.0)
    (tmp_path / "probe.json").write_text(json.dumps(probe))
    with pytest.raises(UserError, match="a value for each k"):
        read_probe(tmp_path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("r2", "linear", "position"), "0.5"),
        (("r2", "linear", "position"), float("nan")),
        (("r2", "mlp", "mean"), True),
        (("r2", "mlp"), {"mean": 0.5}),
        (("ahead", "predicted", "mean"), [float("inf"), 1.0]),
        (("ahead", "copied"), {"position": [1.0, 1.0]}),
        (("episodes", "fit"), "4"),
        (("state",), {}),
    ],
)
def test_a_probe_file_is_checked_to_its_leaves(tmp_path: Path, where: tuple[str, ...], value: object) -> None:
    probe = json.loads(json.dumps(probed("JEPA", 1, 0.5).probe))
    *path, last = where
    reduce(getitem, path, probe)[last] = value
    (tmp_path / "probe.json").write_text(json.dumps(probe))
    with pytest.raises(UserError, match=r"probe.json is corrupt"):
        read_probe(tmp_path)
