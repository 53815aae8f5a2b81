"""`jepakit tune` prints the best trials beside the recipe, and a user's mistake in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jepakit.cli.app import app
from jepakit.errors import UserError
from jepakit.recipe import load_recipe
from jepakit.sweep import scheduler
from jepakit.tuning import tune as tuning
from tests.tuning.conftest import RECIPE
from tests.tuning.made_up import FakeEngine


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(tuning, "rehearse_runs", lambda runs: len(list(runs)))
    monkeypatch.setattr(tuning, "load_engine", lambda *_: FakeEngine())
    (tmp_path / "tuned.yaml").write_text(RECIPE)
    (tmp_path / "space.yaml").write_text("optimizer.lr: {low: 1e-4, high: 1e-1, log: true}\n")
    return ["tune", "tuned.yaml", "--space", "space.yaml", "--quiet", "--jobs", "1", "--trials", "6"]


@pytest.mark.parametrize("columns", [40, 200])
def test_the_table_has_the_recipe_and_the_best_trials(words: list[str], columns: int) -> None:
    outcome = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, words, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.stdout.splitlines()
    assert lines[0].split()[:2] == ["recipe", "trial"]
    assert max(map(len, lines[:3])) <= columns
    assert "6 trials (" in outcome.stdout
    assert "jepakit ablate tuned.yaml --seeds 1000,1001,1002" in outcome.stdout
    assert "jepakit ablate runs/tuned/tune/space/best.yaml --seeds 1000,1001,1002" in outcome.stdout


def test_a_search_whose_trials_have_all_failed_has_compared_nothing(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def has_return(recipe: dict[str, Any], env_steps: int) -> Any:
        return 1.0 if recipe["optimizer"]["lr"] == default else None

    default = load_recipe(Path("tuned.yaml")).optimizer.lr
    monkeypatch.setattr(tuning, "load_engine", lambda *_: FakeEngine(has_return))
    outcome = CliRunner().invoke(app, words, catch_exceptions=False)
    assert outcome.exit_code == 1
    assert outcome.stdout.splitlines()[-1] == (
        "no trial but the recipe itself has finished, so nothing was compared: its runs have no return_last_100"
    )


def test_without_optuna_the_error_says_how_to_get_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'jepakit\[tune\]'"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_an_engine_on_other_machines_needs_a_number_of_trials(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "load_engine", lambda *_: FakeEngine(remote=True))
    with pytest.raises(UserError, match="--jobs 8"):
        CliRunner().invoke(app, [*words, "--jobs", "auto"], catch_exceptions=False)
