"""Diagnostics in a run: their records, no trace in the training, resumed runs, and diagnostics that go wrong."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType, exploration_type

from benchmarks.resume import differences, same, timeless
from jepakit import registry, resume, run
from jepakit.protocols import MOST_NUMBERS
from jepakit.recipe import load_recipe, recipe_id
from jepakit.recipe.errors import RecipeError
from jepakit.storage.checkpoint import load_tensors
from jepakit.storage.manifest import checkpoints
from jepakit.testing import templates
from jepakit.training.loop import Loop
from jepakit.training.monitoring import look
from jepakit.training.monitoring.diagnoses import Diagnoses, checked_figures

SMALL: dict[str, Any] = {
    "name": "small",
    "total_steps": 400,
    "env": {"kind": "gym", "id": "CartPole-v1", "num_envs": 2, "size": [16, 24]},
    "encoder": {"kind": "shaky"},
    "jepa": {"horizon": 2},
    "regularizers": [{"kind": "vicreg", "weight": 0.1}],
    "augmentations": [{"kind": "random_shift", "pad": 1}],
    "algorithm": {"kind": "ppo", "rollout_steps": 20, "epochs": 2, "minibatch_size": 20},
    "checkpoint_every": 120,
    "diagnostics_every": 80,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}
DQN: dict[str, Any] = {
    "algorithm": {
        "kind": "dqn",
        "rollout_steps": 10,
        "minibatch_size": 8,
        "learning_starts": 100,
        "updates_per_step": 0.04,
        "target_every": 3,
        "noisy_std": 0.5,
    },
    "replay": {"capacity": 150, "sampler": "prioritized"},
}
RECIPES = {"ppo": SMALL, "dqn": SMALL | DQN}
BUILT_IN = [*({"kind": kind} for kind in ("dimensions", "spectrum", "prediction", "policy", "critic", "gradients", "updates", "drift"))]


class Shaky(nn.Module):
    """An encoder that draws (dropout) and changes with use (batch normalisation)."""

    def __init__(self, frames: Any) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(torch.Size(frames).numel())
        self.linear, self.drop = nn.LazyLinear(8), nn.Dropout(0.3)

    def forward(self, pixels: Tensor) -> Tensor:
        rows = (pixels.flatten(-4).float() / 255).flatten(0, -2)
        normed = self.norm(rows) if len(rows) > 1 else rows  # a single row has no variance
        return self.drop(self.linear(normed)).unflatten(0, pixels.shape[:-4])


class Drawing:
    """A diagnostic that draws from every generator."""

    def __call__(self, s_x: Tensor) -> Mapping[str, Any]:
        return {"drawn/numbers": [random.random(), float(np.random.rand()), torch.rand(()).item()]}


class Failing:
    """A diagnostic that fails at its second look in a run."""

    looks = 0

    def __call__(self) -> Mapping[str, Any]:
        Failing.looks += 1
        if Failing.looks > 2:  # the first is the rehearsal's
            raise OSError("no more")
        return {"failing/looks": Failing.looks}


class Hoarding:
    """A diagnostic whose state is no state."""

    def __call__(self) -> Mapping[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"all": object()}


class Counting:
    """A diagnostic that keeps a count for itself."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> Mapping[str, Any]:
        self.looks += 1
        return {"counting/looks": self.looks}


class Remembering(Counting):
    """One whose count the checkpoint holds."""

    def state_dict(self) -> dict[str, Any]:
        return {"looks": self.looks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.looks = state["looks"]


class Exploring:
    """A diagnostic that says whether policies explore while it looks."""

    def __call__(self, s_x: Tensor) -> Mapping[str, Any]:
        return {"exploring/noise": float(exploration_type() is not ExplorationType.MODE)}


class Asking:
    """A diagnostic that asks for what there is not."""

    def __call__(self, s_z: Tensor) -> Mapping[str, Any]:
        return {}


class Broken:
    """A diagnostic that returns no figures."""

    def __call__(self, s_x: Tensor) -> Any:
        return {"broken": s_x.mean()}


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.components()  # imports the built-in ones
    monkeypatch.setattr(registry.table, "_table", dict(registry.table._table))
    registry.register("encoder", "shaky")(Shaky)
    for cls in (Drawing, Failing, Hoarding, Counting, Remembering, Exploring, Asking, Broken):
        registry.register("diagnostic", cls.__name__.lower())(cls)
    Failing.looks = 0


def records(folder: Path, phase: str) -> list[dict[str, Any]]:
    return [record for record in timeless(folder) if record["phase"] == phase]


def last(folder: Path) -> Path:
    return checkpoints(folder / "checkpoints")[-1]


@pytest.mark.parametrize("name", RECIPES)
def test_all_diagnostics_together_change_no_training_number(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    off = run({**recipe, "diagnostics": []}, out=tmp_path / "off", quiet=True).path
    on = run({**recipe, "diagnostics": [*BUILT_IN, {"kind": "drawing"}]}, out=tmp_path / "on", quiet=True).path
    assert [record for record in timeless(on) if record["phase"] != "diagnostics"] == timeless(off)
    for file in ("weights", "optimizer"):
        tensors, theirs = load_tensors(last(off), file), load_tensors(last(on), file)
        assert tensors.keys() == theirs.keys()
        assert all(same(tensor, theirs[key]) for key, tensor in tensors.items())
    assert (
        json.loads((last(on) / "state.json").read_text())["generators"] == json.loads((last(off) / "state.json").read_text())["generators"]
    )
    found = records(on, "diagnostics")
    # dqn: before 100 env steps there is no update, and then in a round out of one or two
    assert [record["env_steps"] for record in found] == {"ppo": [80, 160, 240, 320, 400], "dqn": [120, 180, 240, 320, 400]}[name]
    assert len({json.dumps(record["drawn/numbers"]) for record in found}) == len(found)
    groups = {figure.partition("/")[0] for figure in found[-1]} - {"phase", "env_steps"}
    assert groups == {
        "embedding",
        "spectrum",
        "prediction",
        "policy",
        "critic",
        "gradient_norm",
        "gradient_norm_by_term",
        "update_ratio",
        "drift",
        "drawn",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_a_resumed_run_records_the_same_figures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {**RECIPES[name], "diagnostics": [*BUILT_IN, {"kind": "drawing"}]}
    whole = run(recipe, out=tmp_path / "whole", quiet=True).path
    write = Loop._record_batch

    def killed(self: Loop, *args: Any) -> None:
        write(self, *args)
        if self.history.env_steps >= 320:
            raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_record_batch", killed)
        with pytest.raises(KeyError):
            run(recipe, out=tmp_path / "cut", quiet=True)
    resume(tmp_path / "cut", quiet=True)
    assert differences(whole, tmp_path / "cut") == []
    assert records(whole, "diagnostics")[-1]["drift/since_first"] > 0


def test_their_records_come_before_their_batch_and_belong_to_no_id(tmp_path: Path) -> None:
    small = {**SMALL, "total_steps": 160}
    folder = run(small, out=tmp_path / "run", quiet=True).path
    phases = [(record["phase"], record["env_steps"]) for record in timeless(folder) if record["phase"] != "episode"]
    assert phases == [("train", 40), ("diagnostics", 80), ("train", 80), ("train", 120), ("diagnostics", 160), ("train", 160)]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["time/diagnostics"] > 0 for line in lines if line["phase"] == "diagnostics")
    others = ({"diagnostics": []}, {"diagnostics": [{"kind": "drift", "rows": 2}]}, {"diagnostics_every": 7})
    assert {recipe_id(load_recipe({**small, **other})) for other in others} == {recipe_id(load_recipe(small))}


def test_the_watching_of_an_update_is_no_time_of_the_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = look._gradient

    def slowly(*args: Any) -> Any:
        time.sleep(0.4)  # for each term
        return walk(*args)

    monkeypatch.setattr(look, "_gradient", slowly)
    folder = run({**SMALL, "total_steps": 80, "diagnostics_every": 80}, out=tmp_path / "run", quiet=True).path
    seconds = json.loads((folder / "summary.json").read_text())["seconds"]
    assert seconds["learner"] < 1.0 < seconds["diagnostics"]


def test_a_diagnostic_that_fails_is_left_out_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = {**SMALL, "diagnostics": [{"kind": "failing"}, {"kind": "spectrum"}]}
    done = run(recipe, out=tmp_path / "run", quiet=True)
    assert done.summary["status"] == "finished"
    found = records(done.path, "diagnostics")
    assert ["failing/looks" in record for record in found] == [True, False, False, False, False]
    assert all("spectrum/rank_me" in record for record in found)
    told = "the diagnostic `failing` has failed and is left out; the run goes on: OSError: no more"
    assert capsys.readouterr().err.count(told) == 1
    assert told in (done.path / "events.jsonl").read_text()


@pytest.mark.parametrize(
    ("kind", "message"), [("asking", "it asks for `s_z`; a diagnostic gets pixels"), ("broken", "names a figure 'broken'")]
)
def test_a_misfit_is_an_error_before_the_run_starts(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        run({**SMALL, "diagnostics": [{"kind": "drift"}, {"kind": kind}]}, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_recipe_without_jepa_has_all_but_the_prediction(tmp_path: Path) -> None:
    folder = run({**SMALL, "total_steps": 160, "jepa": None}, out=tmp_path / "run", quiet=True).path
    _, found = records(folder, "diagnostics")
    groups = {figure.partition("/")[0] for figure in found} - {"phase", "env_steps"}
    assert groups == {"embedding", "spectrum", "policy", "critic", "gradient_norm", "gradient_norm_by_term", "update_ratio", "drift"}


def test_a_checkpoint_without_their_state_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of before there were diagnostics."""
    write = Loop._record_batch

    def killed(self: Loop, *args: Any) -> None:
        write(self, *args)
        if self.history.env_steps >= 200:
            raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_record_batch", killed)
        patch.setattr(Diagnoses, "state_dict", lambda self: {})
        with pytest.raises(KeyError):
            run(SMALL, out=tmp_path / "run", quiet=True)
    assert resume(tmp_path / "run", quiet=True).summary["status"] == "finished"
    found = records(tmp_path / "run", "diagnostics")
    assert [record["env_steps"] for record in found] == [80, 160, 240, 320, 400]
    assert ["drift/since_last" in record for record in found] == [False, False, True, True, True]


def test_a_state_that_no_checkpoint_can_hold_does_not_end_the_run(tmp_path: Path) -> None:
    done = run({**SMALL, "total_steps": 160, "diagnostics": [{"kind": "hoarding"}]}, out=tmp_path / "run", quiet=True)
    assert done.summary["status"] == "finished"
    assert "the diagnostic `hoarding` has failed" in (done.path / "events.jsonl").read_text()


@pytest.mark.parametrize(("kind", "told"), [("counting", True), ("remembering", False)])
def test_state_that_a_resume_would_lose_gets_a_notice(tmp_path: Path, kind: str, told: bool) -> None:
    done = run({**SMALL, "total_steps": 160, "diagnostics": [{"kind": kind}]}, out=tmp_path / "run", quiet=True)
    assert ("so in no checkpoint" in (done.path / "events.jsonl").read_text()) == told
    assert (f"{kind}.looks" in (done.path / "events.jsonl").read_text()) == told


def test_no_figure_depends_on_the_noise_of_exploration(tmp_path: Path) -> None:
    folder = run({**SMALL, "total_steps": 160, "diagnostics": [{"kind": "exploring"}]}, out=tmp_path / "run", quiet=True).path
    assert [record["exploring/noise"] for record in records(folder, "diagnostics")] == [0.0, 0.0]


def test_a_plug_in_registers_its_own(tmp_path: Path) -> None:
    template = Path(templates.__file__).with_name("diagnostic.py").read_text()
    (tmp_path / "mine.py").write_text(template.replace("my_component", "mine"))
    recipe = {
        **SMALL,
        "total_steps": 80,
        "encoder": {"kind": "vit", "dim": 8, "heads": 2, "patch": 8},
        "plugins": [str(tmp_path / "mine.py")],
    }
    folder = run({**recipe, "diagnostics": [{"kind": "mine", "absolute": False}]}, out=tmp_path / "run", quiet=True).path
    (found,) = records(folder, "diagnostics")
    assert found["mine/largest"] != 0


def test_no_figure_stands_where_the_names_of_others_go_on(tmp_path: Path) -> None:
    """MLflow keeps a metric in a file of its name: `a` and `a/b` cannot both be one."""
    folder = run({**SMALL, "total_steps": 160}, out=tmp_path / "run", quiet=True).path
    names = {name for record in timeless(folder) for name in record}
    assert not [(one, other) for one in names for other in names if other.startswith(f"{one}/")]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([1.0], "list where figures by name were expected"),
        ({"time/mine": 1.0}, "names a figure 'time/mine'"),
        ({"a/b": torch.zeros(2, 2)}, r"`a/b` is tensor \[2, 2\]"),
        ({"a/b": [0.0] * (MOST_NUMBERS + 1)}, "at most 64 numbers"),
        ({"a/b": "text"}, "`a/b` is str"),
    ],
)
def test_what_is_no_figure_is_refused(found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_figures(found)


def test_a_figure_without_a_value_is_null(tmp_path: Path) -> None:
    found = checked_figures({"a/b": torch.tensor(float("nan")), "a/c": torch.tensor([1.0, float("inf")]), "a/d": 2, "a/e": True})
    assert str(found) == "{'a/b': nan, 'a/c': [1.0, inf], 'a/d': 2.0, 'a/e': 1.0}"
