"""The runs of a sweep as this machine would run them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import pytest

from jepakit import registry
from jepakit.components.encoders.vit import ViT
from jepakit.errors import UserError
from jepakit.recipe import recipe_id
from jepakit.sweep import plan as module
from jepakit.sweep.plan import Plan, load_sweep, rehearse_runs


def test_ids_are_computed_after_auto_is_resolved(recipe: Path) -> None:
    (run,) = load_sweep(recipe, overrides=["precision=auto", "device=auto"], seeds=[3]).runs
    assert (run.label, run.seed, run.recipe.seed, run.threads) == ("swept", 3, 3, 1)
    assert run.recipe.precision in ("fp32", "bf16")
    assert run.recipe.device != "auto"
    assert run.id == recipe_id(run.recipe)


def test_a_run_takes_a_core_for_each_of_its_collectors_workers(recipe: Path) -> None:
    def threads(collector: str) -> int:
        return load_sweep(recipe, overrides=[f"collector={collector}", "threads=2"]).runs[0].threads

    found = [threads(each) for each in ("{kind: direct}", "{kind: multi_sync, workers: 1}", "{kind: multi_sync, workers: 4}")]
    assert found == [2, 2, 4]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["processes=3"], 3),
        (["processes=3", "threads=4"], 4),
        (["processes=8"], 4),  # there are four simulators
        (["processes=auto"], 1),
        (["processes=2", "collector={kind: multi_sync, workers: 2}"], 4),
    ],
)
def test_a_run_takes_a_core_for_each_process_that_steps_simulators(recipe: Path, written: list[str], expected: int) -> None:
    (run,) = load_sweep(recipe, overrides=["threads=1", "env.num_envs=4", *written]).runs
    assert run.threads == expected


def test_runs_on_an_accelerator_go_one_at_a_time(make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    plan = make_plan("encoder.dim=16,32")
    assert plan.jobs() == 4
    on_gpu = replace(plan.runs[1], recipe=plan.runs[1].recipe.model_copy(update={"device": "cuda"}))
    assert replace(plan, runs=(plan.runs[0], on_gpu)).jobs() == 1


@pytest.mark.parametrize(
    ("defined_in", "plugins", "is_refused"),
    [("__main__", True, True), ("__main__", False, True), ("imported_here", False, True), ("imported_here", True, False)],
)
def test_a_part_that_only_this_process_knows_is_refused(
    recipe: Path, tmp_path: Path, request: pytest.FixtureRequest, defined_in: str, plugins: bool, is_refused: bool
) -> None:
    (tmp_path / "plugin.py").write_text("unused = 1\n")
    request.addfinalizer(lambda: registry.forget(lambda module: module == defined_in))
    registry.register("encoder", "here")(type("Here", (ViT,), {"__module__": defined_in, "__init__": ViT.__init__}))
    changes = [f"plugins=[{tmp_path / 'plugin.py'}]"] if plugins else []
    runs = load_sweep(recipe, overrides=["encoder={kind: here, dim: 16, depth: 1, heads: 2, patch: 10}", *changes]).runs
    if is_refused:
        with pytest.raises(UserError, match=r"the encoder `here` .*known to this process alone[^\n]*plugins:`\n    in the configuration"):
            rehearse_runs(runs)
    else:
        assert rehearse_runs(runs) == 1


def test_an_env_of_the_script_is_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = gymnasium.registry["CartPole-v1"]
    env = type("Env", (gymnasium.Env,), {"__module__": "__main__"})
    monkeypatch.setitem(gymnasium.registry, "CartPole-v1", replace(known, entry_point=env))
    with pytest.raises(UserError, match="the env `CartPole-v1` is known to this process alone"):
        rehearse_runs(load_sweep(recipe).runs)


def test_what_others_import_too_is_not_refused(
    recipe: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.addfinalizer(lambda: registry.forget(lambda name: name in ("sibling_models", "__main__")))
    part = "encoder={kind: here, dim: 16, depth: 1, heads: 2, patch: 10}"
    registry.register("encoder", "here")(type("Here", (ViT,), {"__module__": "sibling_models", "__init__": ViT.__init__}))
    runs = load_sweep(recipe, overrides=[part]).runs
    with monkeypatch.context() as patch:
        patch.setattr("importlib.metadata.entry_points", lambda group: [SimpleNamespace(name="lab", module="lab_parts")])
        assert rehearse_runs(runs) == 1  # a package that offers components may register those of another
    script = tmp_path / "own.py"
    script.write_text("unused = 1\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    registry.forget(lambda name: name == "sibling_models")
    registry.register("encoder", "here")(type("Here", (ViT,), {"__module__": "__main__", "__init__": ViT.__init__}))
    assert rehearse_runs(load_sweep(recipe, overrides=[part, f"plugins=[{script}]"]).runs) == 1
