from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces

from jepakit.components.envs.wrappers.fire_reset import FireReset
from jepakit.components.envs.wrappers.noop_starts import NoopStarts


class Diary(gymnasium.Env[Any, Any]):
    """Records its resets and actions; terminates after `ends` steps."""

    action_space = spaces.Discrete(3)
    observation_space = spaces.Discrete(1000)

    def __init__(self, ends: int = 1000) -> None:
        self.ends, self.told = ends, list[Any]()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.told.append("reset")
        self.t = 0
        return 0, {"from": "reset"}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.told.append(action)
        self.t += 1
        return self.t, 1.0, self.t == self.ends, False, {}


def test_games_begin_with_a_random_number_of_noops() -> None:
    simulator = NoopStarts(Diary(), 30)
    counts = [simulator.reset(seed=seed)[0] for seed in range(400)]
    assert set(counts) == set(range(1, 31))
    assert counts == [simulator.reset(seed=seed)[0] for seed in range(400)], "the number is drawn from the simulator's own generator"
    assert set(simulator.unwrapped.told) == {"reset", 0}


def test_a_game_that_ends_during_the_noops_is_restarted() -> None:
    simulator = NoopStarts(Diary(ends=3), 30)
    assert {simulator.reset(seed=seed)[0] for seed in range(50)} == {0, 1, 2}


def test_fire_is_pressed_once_per_reset_and_the_resets_info_is_kept() -> None:
    simulator = FireReset(Diary(), 2)
    assert simulator.reset() == (1, {"from": "reset"})
    simulator.step(0)
    simulator.reset()
    assert simulator.unwrapped.told == ["reset", 2, 0, "reset", 2]
