from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from jepakit.components.envs.wrappers.action_repeat import ActionRepeat
from jepakit.components.envs.wrappers.clipped_reward import ClippedReward


class Sequence(gymnasium.Env[Any, Any]):
    """Step t has reward t and renders a random frame t; the episode ends at step 10."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Discrete(20)
    render_mode = "rgb_array"

    def __init__(self) -> None:
        self.frames = np.random.default_rng(0).integers(0, 256, (11, 2, 2, 3), dtype=np.uint8)
        self.drawn: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return self.t, float(self.t), self.t == 10, False, {"t": self.t}

    def render(self) -> Any:
        self.drawn.append(self.t)
        return self.frames[self.t]


def test_rewards_are_summed_up_to_the_episodes_end() -> None:
    simulator = ActionRepeat(Sequence(), 4)
    simulator.reset()
    assert [simulator.step(0) for _ in range(3)] == [
        (4, 1 + 2 + 3 + 4, False, False, {"t": 4}),
        (8, 5 + 6 + 7 + 8, False, False, {"t": 8}),
        (10, 9 + 10, True, False, {"t": 10}),
    ]


def test_the_tasks_own_rewards_are_summed_too() -> None:
    simulator = ActionRepeat(ClippedReward(Sequence()), 4)
    simulator.reset()
    assert [simulator.step(0)[1:] for _ in range(3)] == [
        (4, False, False, {"t": 4, "raw_reward": 10}),
        (4, False, False, {"t": 8, "raw_reward": 26}),
        (2, True, False, {"t": 10, "raw_reward": 19}),
    ]


@pytest.mark.parametrize("repeat", [1, 2, 3, 4])
def test_the_maximum_of_the_last_two_frames_is_rendered(repeat: int) -> None:
    inner = Sequence()
    simulator = ActionRepeat(inner, repeat, max_of_two=True)
    simulator.reset()
    assert np.array_equal(simulator.render(), inner.frames[0])
    ends = False
    while not ends:
        before, inner.drawn = inner.t, []
        _, _, ends, _, _ = simulator.step(0)
        t = inner.t
        whole = t - before == repeat and repeat > 1  # a step that ended early may lack its second-last frame
        expected = np.maximum(inner.frames[t], inner.frames[t - 1]) if whole else inner.frames[t]
        assert np.array_equal(simulator.render(), expected)
        assert set(inner.drawn) <= {t - 1, t}, "unused frames are not rendered"
    simulator.reset()
    assert np.array_equal(simulator.render(), inner.frames[0]), "no frame of the previous episode"


def test_without_max_of_two_no_frame_is_rendered_between_repeats() -> None:
    inner = Sequence()
    simulator = ActionRepeat(inner, 4)
    simulator.reset()
    simulator.step(0)
    assert not inner.drawn
    assert np.array_equal(simulator.render(), inner.frames[4])
