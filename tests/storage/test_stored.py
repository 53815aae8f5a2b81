"""An untrusted recipe is read without running the code that it names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jepakit.errors import UserError
from jepakit.registry.plugins import load_plugins
from jepakit.storage.stored import stored_recipe

RECIPE = "env: {kind: gym, id: CartPole-v1, num_envs: 2, size: [16, 24]}\n"


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[Path]:
    """A file that leaves a trace when it is imported."""
    trace = tmp_path / "ran"
    (tmp_path / "bomb.py").write_text(f"open({str(trace)!r}, 'w')\n")
    yield trace
    load_plugins([])


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (RECIPE + "plugins: [./bomb.py]", r"the plug-in `.*bomb\.py`"),
        (RECIPE + 'plugins: ["./bomb.py", os]', r"bomb\.py`, the plug-in `os`"),
        ("extends: ./base.yaml", r"the plug-in `.*bomb\.py`"),
        (RECIPE + "extends: [cartpole_pixels, ./base.yaml]", r"the plug-in `.*bomb\.py`"),
        ("env: {kind: gym, id: 'bomb:Boom-v0'}", "the module `bomb` of the env's id"),
        ("env: {kind: gym_state, id: 'bomb:Boom-v0'}", "the module `bomb` of the env's id"),
        ("env: &env {kind: gym, id: 'bomb:Boom-v0'}\n", "the module `bomb`"),
        ("env: {kind: gym, id: CartPole-v1, wrappers: [{path: 'bomb:Boom'}]}", "the env's wrapper `bomb:Boom`"),
        (RECIPE + "collector: {kind: ray, address: 'ray://away:10001'}", "the cluster `ray://away:10001` of the collector"),
    ],
)
def test_code_is_named_and_not_run_unless_trusted(
    tmp_path: Path, bomb: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, names: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "base.yaml").write_text(RECIPE + "plugins: [./bomb.py]")
    (tmp_path / "recipe.yaml").write_text(recipe)
    with pytest.raises(UserError, match=rf"names code to run: .*{names}.*; if you trust it, add --trust"):
        stored_recipe(tmp_path)
    assert not bomb.exists()
    if "bomb.py" in names:
        stored_recipe(tmp_path, trust=True)
        assert bomb.exists()


def test_a_recipe_without_code_needs_no_trust(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert stored_recipe(tmp_path).env.num_envs == 2


@pytest.mark.parametrize("text", ["", "[]", "7", "a: [", "plugins: 3", "plugins: {a: b}", "plugins: ./bomb.py", "\0", "env: {id: [x]}"])
def test_a_corrupt_recipe_is_a_user_error(tmp_path: Path, bomb: Path, text: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(UserError):
        stored_recipe(tmp_path)
    assert not bomb.exists()


def test_a_folder_that_is_no_run_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nope does not exist"):
        stored_recipe(tmp_path / "nope")
    run = tmp_path / "runs" / "mine" / "0123456789"
    run.mkdir(parents=True)
    for name in ("recipe.yaml", "events.jsonl"):
        (run / name).touch()
    with pytest.raises(UserError, match=f"it has no recipe.yaml; runs beneath it: {run}$"):
        stored_recipe(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match="is not a run's folder: it has no recipe"):
        stored_recipe(tmp_path)
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(UserError, match="killed before its first step; remove the folder and run it again"):
        stored_recipe(tmp_path)
