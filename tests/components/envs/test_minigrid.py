from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from jepakit import registry
from jepakit.components.envs.minigrid import MiniGridEnv
from jepakit.errors import UserError

ID = "MiniGrid-DoorKey-5x5-v0"


@pytest.fixture(scope="module")
def minigrid() -> Any:
    pytest.importorskip("minigrid", reason="the extra `minigrid` is not installed")
    import minigrid.wrappers

    return minigrid.wrappers


def test_names_the_extra_that_it_requires() -> None:
    assert registry.component("env", "minigrid").cls.requires == {"minigrid": "pip install 'jepakit[minigrid]'"}


@pytest.mark.parametrize(("view", "wrapper", "side"), [("full", "RGBImgObsWrapper", 30), ("partial", "RGBImgPartialObsWrapper", 42)])
def test_frames_match_minigrids_own_wrappers(minigrid: Any, view: Any, wrapper: str, side: int) -> None:
    env = MiniGridEnv(0, id=ID, num_envs=1, view=view, tile_size=6)
    reference = getattr(minigrid, wrapper)(gymnasium.make(ID), tile_size=6)
    seen, _ = reference.reset(seed=int(np.random.SeedSequence(0).generate_state(1)[0]))
    now = env.reset()
    assert env.frame_shape == (1, 3, side, side)
    for action in (2, 0, 2, 1, 3, 2):
        assert torch.equal(now["pixels"][0, 0], torch.from_numpy(seen["image"]).permute(2, 0, 1))
        _, now = env.step_and_maybe_reset(now.set("action", torch.tensor([action])))
        seen, *_ = reference.step(action)


def test_navigation_keeps_three_of_the_seven_actions(minigrid: Any) -> None:
    sizes = {actions: MiniGridEnv(0, id=ID, num_envs=1, actions=actions).single_action_spec.n for actions in ("all", "navigation")}
    assert sizes == {"all": 7, "navigation": 3}


def test_restores_exactly(minigrid: Any) -> None:
    assert MiniGridEnv(0, id=ID, num_envs=1, view="partial").restores_exactly()


def test_an_unknown_grid_gets_a_suggestion(minigrid: Any) -> None:
    with pytest.raises(UserError, match="Registered ids like it: `MiniGrid-Empty-8x8-v0`"):
        MiniGridEnv(0, id="MiniGrid-Emty-8x8-v0")
