"""Goals that resets tell: shown as the agent would see them, checked where they arrive, and reached whatever the steps cost."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDictBase

from jepakit.components.distractions.camera import Camera
from jepakit.components.distractions.colours import Colours
from jepakit.components.envs.batched import EnvFailed
from jepakit.components.envs.gym import GymEnv
from jepakit.protocols import ACTION, FrameShape
from jepakit.training.monitoring.evaluation import play

FRAMES = FrameShape(2, 3, 8, 8)


class Line(gymnasium.Env[Any, Any]):
    """A point among 8 columns walks right to the last. Each step before costs ``cost``."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}
    action_space, observation_space = spaces.Discrete(2), spaces.Discrete(8)

    def __init__(self, render_mode: str, cost: float = 0.0, goal: str = "honest") -> None:
        self.render_mode, self.cost, self.goal, self.episodes = render_mode, cost, goal, 0

    def picture(self, x: int) -> Any:
        image = np.full((8, 8, 3), 40, dtype=np.uint8)
        image[:, x] = (250, 200, 10)
        return image

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.episodes, picture = int(self.np_random.integers(0, 4)), self.episodes + 1, self.picture(7)
        told = {
            "honest": picture,
            "floats": picture / 255,
            "large": np.zeros((9, 8, 3), np.uint8),
            "none": None,
            "four": picture[..., [0] * 4],
        }
        if self.goal == "sometimes" and self.episodes % 2:
            return self.x, {}
        return self.x, {"goal_image": told.get(self.goal, picture)}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.x += int(action)
        return self.x, 1.0 if self.x == 7 else -self.cost, self.x == 7, False, {}

    def render(self) -> Any:
        return self.picture(self.x)


gymnasium.register("LineToAGoal-v0", Line, max_episode_steps=12)


def line(**kwargs: Any) -> GymEnv:
    return GymEnv(3, id="LineToAGoal-v0", num_envs=2, frames=2, size=None, grayscale=False, make_kwargs=kwargs)


def right(tensordict: TensorDictBase) -> TensorDictBase:
    return tensordict.set(ACTION, torch.ones(2, dtype=torch.int64))


@pytest.mark.parametrize("distraction", [Camera(5, FRAMES, shift=2, changes="never"), Colours(5, FRAMES)])
def test_a_goal_is_shown_through_the_distractions_as_its_end_is(distraction: Any) -> None:
    env, reached = line(), 0
    env.reset()
    plain = env.goals.clone()
    env.distractions = (distraction,)
    now = env.reset()
    assert not torch.equal(env.goals, plain)
    for _ in range(20):
        goals = env.goals.clone()
        step, now = env.step_and_maybe_reset(right(now))
        for n in step["next", "terminated"].flatten().nonzero().flatten().tolist():
            assert torch.equal(step["next", "pixels"][n, -1], goals[n, -1])
            reached += 1
    assert reached > 4
    env.close()


@pytest.mark.parametrize("goal", ["floats", "large", "none", "four", "sometimes"])
def test_a_goal_that_is_no_picture_as_it_draws_is_refused(goal: str) -> None:
    with pytest.raises(EnvFailed, match=r"LineToAGoal-v0: reset raised ValueError: .*goal_image.* in"):
        line(goal=goal).rollout(40)


def test_an_episode_succeeds_by_its_last_reward_whatever_its_steps_cost() -> None:
    found = [play(env := line(cost=cost), right, "greedy", 4, 1) for cost in (0.0, 0.5)]
    assert [each["rewarded_at_end"] for each in found] == [[True] * 4] * 2
    assert min(found[0]["returns"]) > 0 > max(found[1]["returns"])
    still = play(env, lambda now: now.set(ACTION, torch.zeros(2, dtype=torch.int64)), "greedy", 2, 1)
    assert still["rewarded_at_end"] == [False] * 2
