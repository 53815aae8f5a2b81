"""``compare`` and ``record`` turn run folders into tables, figures and records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

Sweep = Callable[..., Path]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Run folders, one for each dim and seed, whose final return is dim + seed."""

    def make(dims: tuple[int, ...] = (32, 64), seeds: int = 2, steps: dict[int, int] | None = None, evaluated: bool = False) -> Path:
        for dim in dims:
            for seed in range(seeds):
                folder = tmp_path / "runs" / f"{dim:05}{seed:05}"
                folder.mkdir(parents=True)
                recipe = {"name": "tiny", "seed": seed, "total_steps": (steps or {}).get(dim, 2000), "encoder": {"kind": "vit", "dim": dim}}
                record = {"phase": "train", "return_last_100": dim + seed, "embedding/variance": 0.5}
                ended = {"return_last_100": dim + seed, "return_auc": dim, "embedding_variance": 0.5, "embedding_rank": dim / 8 + seed}
                ended["collapsed"] = dim == 32 and seed == 1
                (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
                (folder / "provenance.json").write_text("{}")
                (folder / "metrics.jsonl").write_text("".join(json.dumps(record | {"env_steps": at}) + "\n" for at in (1000, 2000)))
                (folder / "summary.json").write_text(json.dumps({"id": folder.name, "status": "finished", "env_steps": 2000} | ended))
                if evaluated:
                    (folder / "eval.json").write_text(json.dumps({"episodes": 30, "greedy": {"mean": 1.0}, "sampled": {"mean": 400 + dim}}))
        return tmp_path / "runs"

    return make


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def test_compare_prints_each_configuration_and_every_pair(cli: Cli, sweep: Sweep, tmp_path: Path) -> None:
    code, out, err = cli("compare", str(sweep()), "--threshold", "40", "--threshold", "64.5")
    assert (code, err) == (0, "")
    rows, pairs, notes = out.split("\n\n")
    assert cells(rows) == [
        ["configuration", "runs", "final return", "AUC", "steps to 40", "steps to 64.5", "variance", "rank", "collapsed"],
        ["dim=32", "2", "32.5 [32.0, 33.0]", "32.0 [32.0, 32.0]", "0/2", "0/2", "0.5", "4.5", "1/2"],
        ["dim=64", "2", "64.5 [64.0, 65.0]", "64.0 [64.0, 64.0]", "2/2, median 1,000", "1/2", "0.5", "8.5", "0/2"],
    ]
    assert cells(pairs) == [["ends higher", "than", "probability"], ["dim=64", "dim=32", "1.00 [1.00, 1.00]"]]
    assert "95%" in notes
    assert "Fewer than 5 runs in dim=32; dim=64" in notes
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # nothing is written without --out


def test_80_columns_break_no_heading_or_interval(cli: Cli, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = cli("compare", str(sweep())).out
    rows, *_ = out.split("\n\n")
    assert cells(rows)[0] == ["configuration", "runs", "final return", "variance", "rank", "collapsed"]
    assert cells(rows)[1][2] == "32.5 [32.0, 33.0]"
    assert "not shown, for want of width: AUC" in out


def test_compare_writes_tables_and_figures(cli: Cli, sweep: Sweep, tmp_path: Path) -> None:
    code, out, _ = cli("compare", str(sweep(seeds=5, evaluated=True)), "--out", "new/cmp", "--threshold", "40")
    assert code == 0
    written = {"compare.md", "compare.json", "curves.png", "curves.svg"}
    assert {path.name for path in (tmp_path / "new/cmp").iterdir()} == written
    assert all(f"new/cmp/{name}" in out for name in written)
    assert "Fewer than" not in out
    page = (tmp_path / "new/cmp/compare.md").read_text()
    assert page.startswith("![Return and embedding variance against env steps](curves.png)\n")
    assert "| dim=32 | 5 | 34.0 [" in page
    assert "432.0 [432.0, 432.0]" in page
    content = json.loads((tmp_path / "new/cmp/compare.json").read_text())
    first = content["configurations"][0]
    assert (first["label"], first["seeds"], first["collapsed"]) == ("dim=32", [0, 1, 2, 3, 4], 1)
    assert first["runs"][1] == "0003200001"
    assert first["final_return"]["value"] == 34
    assert first["reached"] == [{"threshold": 40, "by": 0, "of": 5, "median": None}]
    assert content["pairs"][0]["probability"] == {"value": 1.0, "interval": [1.0, 1.0]}
    before = (tmp_path / "new/cmp/compare.json").read_bytes()
    cli("compare", "runs", "--out", "new/cmp", "--threshold", "40")
    assert (tmp_path / "new/cmp/compare.json").read_bytes() == before


def test_records_compare_like_their_runs(cli: Cli, sweep: Sweep, tmp_path: Path) -> None:
    sweep(seeds=3)
    code, out, _ = cli("record", "runs", "--to", "kept")
    assert code == 0
    assert len(list((tmp_path / "kept").iterdir())) == 6
    assert "tiny, seed 2: kept/0006400002.json" in out
    assert cli("compare", "kept").out == cli("compare", "runs").out == cli("compare", "runs", "kept").out


def test_compare_reports_differing_budgets_and_missing_evaluations(cli: Cli, sweep: Sweep) -> None:
    runs = sweep(dims=(8, 32, 64), steps={64: 5000}, evaluated=True)
    (runs / "0003200000" / "eval.json").unlink()
    out = cli("compare", str(runs)).out
    assert "differ in their number of env steps (dim=8: 2,000; dim=32: 2,000; dim=64, total_steps=5000: 5,000)" in out
    table = cells(out.split("\n\n")[0])
    sampled = ["held out, sampled", "408.0 [408.0, 408.0]", "–", "464.0 [464.0, 464.0]"]
    greedy = ["held out, greedy", "1.0 [1.0, 1.0]", "–", "1.0 [1.0, 1.0]"]
    assert [row[-2:] for row in table] == [list(pair) for pair in zip(greedy, sampled, strict=True)]


def test_a_threshold_must_be_finite(cli: Cli, sweep: Sweep, tmp_path: Path) -> None:
    for odd in ("nan", "inf"):
        code, _, err = cli("compare", str(sweep(dims=(int(odd == "inf"),))), "--threshold", odd, "--out", "cmp")
        assert (code, err) == (2, f"--threshold {odd}: write a finite return\n")
    assert not (tmp_path / "cmp").exists()


def test_links_are_followed_but_not_in_cycles(cli: Cli, sweep: Sweep, tmp_path: Path) -> None:
    runs = sweep()
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "circle").symlink_to(linked)
    for run in runs.iterdir():
        (linked / run.name).symlink_to(run)
    assert cli("compare", "linked").out == cli("compare", str(runs)).out
    assert cli("runs", "linked").out.count("  finished  ") == 4


def test_stopped_runs_are_reported(cli: Cli, sweep: Sweep) -> None:
    runs = sweep()
    assert "stopped" not in cli("compare", str(runs)).out
    summary = runs / "0003200000" / "summary.json"
    summary.write_text(summary.read_text().replace("finished", "stopped"))
    assert "Some runs stopped early (dim=32)" in cli("compare", str(runs)).out


def test_pairs_are_left_out_for_many_configurations(cli: Cli, sweep: Sweep) -> None:
    assert "than" in cli("compare", str(sweep(dims=(1, 2, 3, 4, 5, 6), seeds=1))).out.split()
    assert "than" not in cli("compare", str(sweep(dims=(7,), seeds=1))).out.split("Interquartile")[0].split()


def test_mistakes_exit_2_and_name_the_path(cli: Cli, process: Cli, sweep: Sweep, tmp_path: Path) -> None:
    assert cli("compare", "nowhere").err.startswith("there is no nowhere")
    (tmp_path / "empty").mkdir()
    for verb in (["compare"], ["record", "--to", "kept"]):
        code, _, err = cli(*verb, "empty")
        assert (code, "no finished run in empty" in err) == (2, True)
    runs = sweep()
    (tmp_path / "file").write_text("")
    assert cli("compare", str(runs), "--out", "file").code == 2
    assert cli("record", str(runs), "--to", "file").code == 2
    (runs / "0003200000" / "summary.json").write_text('{"status": "failed"}')
    code, _, err = process("compare", "runs")
    assert (code, err) == (0, "warning: skipped unfinished runs: runs/0003200000 (failed)\n")


def test_comparing_needs_no_torch(sweep: Sweep, tmp_path: Path) -> None:
    sweep()
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")  # the working directory comes first
    command = [sys.executable, "-m", "jepakit", "compare", "runs", "--out", "cmp"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
