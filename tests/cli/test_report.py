"""``jepakit report`` writes one page from runs with checkpoints, and says what it could not open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jepakit
from jepakit.agent import observe
from jepakit.cli import report

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

pytest.importorskip("plotly", reason="the extra `report` is not installed")


def test_a_run_with_a_checkpoint_shows_everything(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"total_steps": 50, "env.num_envs": 2, "threads": 1, "algorithm.rollout_steps": 25, "algorithm.minibatch_size": 25}
    jepakit.run("cartpole_pixels", overrides=small, out=tmp_path / "runs" / "mine", quiet=True)
    monkeypatch.setattr(report, "EPISODES", 2)
    monkeypatch.setattr(observe, "STEPS", 60)
    code, out, err = cli("report", "runs", "--out", "new/page.html", "--title", "Mine")
    assert (code, err) == (0, "1/1: runs/mine plays\n")
    assert out.startswith("wrote new/page.html (")
    page = (tmp_path / "new" / "page.html").read_text()
    assert all(f'<section id="{panel}"' in page for panel in ("verdict", "map", "attention", "episodes", "time"))
    assert 'value="angular velocity"' in page
    assert "data:video/mp4" in page or "data:image/gif" in page

    recipe = tmp_path / "runs" / "mine" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("plugins: []", "plugins: [./evil.py]"))
    (recipe.parent / "evil.py").write_text("raise SystemExit('code of a run was executed')")
    code, _, err = cli("report", "runs")
    assert code == 0
    page = (tmp_path / "report.html").read_text()
    assert "if you trust it, add --trust" in page
    assert 'id="attention"' not in page


def test_records_need_no_torch(process: Cli, tmp_path: Path) -> None:
    records = Path(__file__).parents[2] / "docs" / "results" / "paper" / "runs"
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("fc3ec90bac.json", "f51db3ff53.json"):
        (kept / name).write_bytes((records / name).read_bytes())
    code, out, err = process("report", "kept", "--out", "page.html")
    assert (code, err) == (0, "")
    assert "wrote page.html" in out
