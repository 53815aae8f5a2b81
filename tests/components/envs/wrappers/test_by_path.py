from __future__ import annotations

from typing import Any

import gymnasium
import pytest
import torch

from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.wrappers.by_path import Wrapping
from jepakit.components.shared.frames import to_frame
from jepakit.errors import UserError

DRAWN = {"make_kwargs": {"render_mode": "rgb_array"}, "observation": "env"}
IMAGE = Wrapping(path="gymnasium.wrappers:AddRenderObservation", render_only=True)
GREY = Wrapping(path="gymnasium.wrappers:GrayscaleObservation")


def make(*wrappers: Wrapping, id: str = "CartPole-v1", **fields: Any) -> GymEnv:
    return GymEnv(0, id=id, **{"num_envs": 2, "size": (20, 30), "wrappers": list(wrappers)} | fields)


def test_wrappers_are_applied_innermost_first() -> None:
    env = make(
        Wrapping(path="gymnasium.wrappers:StickyAction", repeat_action_probability=0.25),
        Wrapping(path="gymnasium.wrappers:TransformReward", func=None),
    )
    outer: Any = env.simulators[0].env
    assert isinstance(outer, gymnasium.wrappers.TransformReward)
    assert isinstance(outer.env, gymnasium.wrappers.StickyAction)
    assert outer.env.repeat_action_probability == 0.25


def test_sticky_actions_are_restored_exactly() -> None:
    assert make(Wrapping(path="gymnasium.wrappers:StickyAction", repeat_action_probability=0.25)).restores_exactly()


def test_image_observations_can_be_the_frames() -> None:
    """Rendered and observed images are equal. Grey observations are used unchanged."""
    played = []
    for env in (make(), make(IMAGE, **DRAWN)):
        torch.manual_seed(0)  # seeds the actions
        played.append(env.rollout(30, break_when_any_done=False)["pixels"])
    assert torch.equal(*played)
    grey = make(IMAGE, GREY, **DRAWN)
    grey.set_seed(3)
    now = grey.reset()
    image = grey.simulators[0].env.seen
    assert image.ndim == 2
    assert torch.equal(now["pixels"][0, -1], to_frame(image, (20, 30), True))
    assert grey.restores_exactly()


@pytest.mark.parametrize("outer", [[], [Wrapping(path="gymnasium.wrappers:MaxAndSkipObservation", skip=4)]])
@pytest.mark.parametrize(
    "changing",
    [
        [Wrapping(path="gymnasium.wrappers:ClipReward", min_reward=0.0, max_reward=0.25)],
        [Wrapping(path="gymnasium.wrappers:NormalizeReward"), Wrapping(path="gymnasium.wrappers:ClipReward", max_reward=0.5)],
    ],
)
def test_returns_are_the_tasks_and_not_those_of_rewards_that_are_changed_for_learning(
    changing: list[Wrapping], outer: list[Wrapping]
) -> None:
    played = []
    for between in (changing, []):
        env = make(*between, *outer)
        env.set_seed(1)
        torch.manual_seed(0)  # seeds the actions
        played.append(env.rollout(40, break_when_any_done=False)["next"])
    changed, plain = played
    assert plain["done"].any()
    assert torch.equal(changed["episode_return"], plain["episode_return"])
    assert not torch.equal(changed["reward"], plain["reward"])
    assert not torch.equal(changed["learned_return"], plain["learned_return"])


def test_a_wrapper_that_gives_the_task_another_reward_is_the_task() -> None:
    env = make(Wrapping(path="tests.components.envs.wrappers.test_by_path:Halved"))
    last = env.rollout(5, break_when_any_done=False)["next"][:, -1]
    assert last["episode_return"].tolist() == last["learned_return"].tolist() == [[2.5], [2.5]]


def test_a_wrapper_that_tells_the_tasks_reward_has_the_last_word() -> None:
    here = "tests.components.envs.wrappers.test_by_path"
    env = make(Wrapping(path="gymnasium.wrappers:ClipReward", max_reward=0.5), Wrapping(path=f"{here}:Tells"))
    last = env.rollout(5, break_when_any_done=False)["next"][:, -1]
    assert (last["episode_return"].tolist(), last["learned_return"].tolist()) == ([[35.0]] * 2, [[2.5]] * 2)


class Tells(gymnasium.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        *seen, info = super().step(action)
        return *seen, info | {"raw_reward": 7.0}


class Halved(gymnasium.RewardWrapper[Any, Any]):
    def reward(self, reward: Any) -> float:
        return 0.5 * float(reward)


@pytest.mark.parametrize(
    ("wrappers", "fields", "reason"),
    [
        ([Wrapping(path="gymnasium.wrappers:StickyActio")], {}, "has no Gymnasium wrapper `StickyActio`; did you mean `StickyAction`"),
        ([Wrapping(path="gymnasium:Env")], {}, "`gymnasium` has no Gymnasium wrapper `Env`"),
        ([Wrapping(path="no_such_module:A")], {}, "no_such_module:A cannot be imported: ModuleNotFoundError"),
        ([Wrapping(path="gymnasium.wrappers:StickyAction")], {}, "StickyAction cannot be made: TypeError: .*repeat_action_probability"),
        ([GREY], {}, "GrayscaleObservation cannot be made: ValueError: .*3 channels"),
        ([], {"observation": "env"}, "`observation: env` does not fit: its observations are Box.*no uint8 images"),
        ([IMAGE, GREY], DRAWN | {"grayscale": False}, "its observations are grey: write `grayscale: true`"),
    ],
)
def test_a_wrapper_that_does_not_fit_is_an_error(wrappers: list[Wrapping], fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        make(*wrappers, **fields)
