"""Every built-in component passes the conformance kit, which third parties run on theirs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jepakit import registry
from jepakit.testing import FRAME_SHAPES, check_component

#: Fields that a recipe must write, or that make a kind small enough for a test.
FIELDS: dict[tuple[str, str], dict[str, Any]] = {
    ("env", "dmc"): {"domain": "cartpole", "task": "swingup", "num_envs": 2, "size": [16, 16], "draw": "fast", "max_episode_steps": 20},
    ("env", "gym"): {"id": "CartPole-v1", "num_envs": 3, "size": [20, 30]},
    ("env", "gym_state"): {"id": "CartPole-v1", "num_envs": 3},
    ("env", "atari"): {"game": "Breakout", "num_envs": 2, "size": [20, 30], "max_frames": 320},
    ("env", "two_rooms"): {"num_envs": 2, "max_episode_steps": 20},
    ("env", "minigrid"): {"id": "MiniGrid-Empty-5x5-v0", "num_envs": 2, "max_episode_steps": 30},
    ("collector", "multi_sync"): {"workers": 1},
    ("collector", "multi_async"): {"workers": 1},
    ("collector", "ray"): {"workers": 1},
    ("curiosity", "rnd"): {"width": 32},
    ("encoder", "impala"): {"dim": 16},
    ("encoder", "mlp"): {"hidden": [8]},
    ("predictor", "conv"): {"channels": 1, "rows": 1},
    ("encoder", "timm"): {"backbone": "test_convnext2"},
    ("engine", "slurm"): {"cluster": "local"},
}
VECTORS = (2, 1, 1, 6)  #: state vectors
BUILTINS = [found for found in registry.components() if found.cls.__module__.startswith("jepakit.")]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow's own folder is in the current one
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def each() -> Iterator[Any]:
    """The built-in components; those that start processes of their own are slow."""
    for found in BUILTINS:
        slow = (found.slot == "collector" and found.kind != "direct") or (found.slot, found.kind) == ("engine", "ray")
        yield pytest.param(found, id=f"{found.slot}-{found.kind}", marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize("found", list(each()))
def test_a_built_in_component_keeps_the_rules_of_its_slot(found: registry.Component, request: pytest.FixtureRequest) -> None:
    if found.missing:
        pytest.skip(found.missing)
    if (found.slot, found.kind) == ("env", "none"):
        pytest.skip("there is nothing to step")
    if found.slot == "source":
        pytest.skip("it needs data: see tests/components/sources")
    if found.kind == "dmc":
        request.getfixturevalue("opengl_here")
    if found.slot == "sink":
        request.getfixturevalue("elsewhere")
    vectors = found.slot in ("target", "auxiliary") or (found.slot, found.kind) in (("encoder", "mlp"), ("encoder", "impala"))
    shapes = [*FRAME_SHAPES, VECTORS] if vectors else FRAME_SHAPES
    check_component(found.slot, found.kind, frame_shapes=shapes, **FIELDS.get((found.slot, found.kind), {}))


def test_an_env_with_continuous_actions_keeps_the_rules() -> None:
    check_component("env", "gym", id="Pendulum-v1", num_envs=2, size=[16, 16], frames=2, grayscale=False, max_episode_steps=20)
