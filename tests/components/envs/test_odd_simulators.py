"""Simulators with habits of their own are seen as they are, whatever number of processes they are spread over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec
from torch import Tensor

from jepakit.components.envs.batched import EnvFailed, within
from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.tape import restores_exactly
from jepakit.components.envs.wrappers.by_path import Wrapping
from jepakit.errors import UserError
from jepakit.protocols import PIXELS


class Odd(gymnasium.Env[Any, Any]):
    """Draws one colour beside a white column: the sum of its actions, and of a start that its own generator draws."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    action_space: Any = spaces.Discrete(2)
    observation_space = spaces.Box(0, 255, (4, 4, 3), np.uint8)
    render_mode = "rgb_array"

    def __init__(self, render_mode: str = "rgb_array") -> None:
        self.reward: Any = 1.0
        self.info: Any = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.colour, self.steps = int(self.np_random.integers(100)), 0
        return self.render(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
        self.steps += 1
        self.colour += 1 + int(action)
        return self.render(), self.reward, False, False, self.info

    def render(self) -> Any:
        picture = np.full((4, 4, 3), self.colour % 200, np.uint8)
        picture[:, -1] = 255
        return picture


@pytest.fixture
def registered() -> Iterator[Callable[..., str]]:
    """Registers an env class by an id for the time of the test."""
    before, here = dict(gymnasium.registry), sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)  # so that no worker imports this module, and torch with it

    def register(kind: type, id: str = "Odd-v0", **fields: Any) -> str:
        gymnasium.registry[id] = EnvSpec(id, entry_point=kind, **fields)
        return id

    yield register
    cloudpickle.unregister_pickle_by_value(here)
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def make(id: str, processes: int = 1, **fields: Any) -> GymEnv:
    return GymEnv(0, processes, **{"id": id, "num_envs": 3, "size": None, "grayscale": False} | fields)


def played(env: GymEnv, steps: int = 12) -> dict[str, Tensor]:
    torch.manual_seed(1)
    rollout = env.rollout(steps, break_when_any_done=False)
    env.close()
    return {PIXELS: rollout["next", PIXELS], "reward": rollout["next", "reward"], "done": rollout["next", "done"]}


def expect_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_returns_are_summed_exactly_as_far_as_their_size_allows(registered: Callable[..., str]) -> None:
    class Paying(Odd):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            picture, _, *rest = super().step(action)
            return picture, [1e8, 1.0, -1e8, 0.1][min(self.steps - 1, 3)], *rest

    env = make(registered(Paying))
    rollout = env.rollout(1003, break_when_any_done=False)["next"]
    assert rollout["episode_return"][0, :3].flatten().tolist() == [1e8, 1e8, 1.0]
    assert rollout["episode_return"][0, -1].item() == 101.0
    assert rollout["episode_return"].dtype == rollout["reward"].dtype == torch.float32
    env.close()


def test_an_id_that_is_registered_anew_is_the_new_env_in_every_process(registered: Callable[..., str]) -> None:
    class Rich(CartPoleEnv):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            observation, _, *rest = super().step(action)
            return observation, 7.0, *rest

    registered(Rich, "CartPole-v1", max_episode_steps=5)
    one, two = (played(make("CartPole-v1", processes, size=(20, 30))) for processes in (1, 2))
    assert (two["reward"] == 7).all()
    expect_same(one, two)


def test_an_id_without_its_version_and_envs_within_envs_work_in_every_process(registered: Callable[..., str]) -> None:
    registered(Odd, "Inner-v3")

    class Outer(Odd):
        def __init__(self, render_mode: str = "rgb_array") -> None:
            super().__init__()
            self.inner = gymnasium.make("Inner-v3")

    registered(Outer, "Outer-v2")
    with pytest.warns(UserWarning, match="latest versioned"):
        expect_same(*(played(make("Outer", processes)) for processes in (1, 2)))


@pytest.mark.parametrize("observation", ["render", "env"])
def test_simulators_that_share_a_picture_are_seen_apart(registered: Callable[..., str], observation: str) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)

    class Shared(Odd):
        def render(self) -> Any:
            picture[:] = super().render()
            return picture

    apart, shared = (played(make(registered(kind), observation=observation)) for kind in (Odd, Shared))
    assert len(apart[PIXELS][:, 0, -1, 0, 0, 0].unique()) == 3
    expect_same(apart, shared)


def test_an_env_that_keeps_a_part_of_its_screen_is_seen_as_it_draws(registered: Callable[..., str]) -> None:
    import pygame

    class Screen(Odd):
        screen: Any = None

        def render(self) -> Any:
            if self.screen is None:
                self.screen = pygame.Surface((6, 4))
                self.bar = self.screen.subsurface((2, 0, 2, 4))
            self.screen.fill((255, 255, 255), (5, 0, 1, 4))
            self.bar.fill((self.steps, 0, 0))
            return np.transpose(pygame.surfarray.array3d(self.screen), (1, 0, 2))

    seen = played(make(registered(Screen)))[PIXELS][0, :, -1, 0, 0]  # [T, W], red in the first row
    assert (seen[:, 2].diff() != 0).all()
    assert (seen[:, :2] == 0).all()


def test_global_random_numbers_are_the_same_in_every_run(registered: Callable[..., str]) -> None:
    class Global(Odd):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            return self.render(), float(np.random.rand()), False, False, {}

    registered(Global)
    expect_same(*(played(make("Odd-v0", processes=2)) for _ in range(2)))


def test_an_own_generator_cannot_be_restored() -> None:
    class Own(Odd):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            if seed is not None:
                self.own = np.random.default_rng(seed)
            super().reset(seed=seed)
            self.colour = int(self.own.integers(100))
            return self.render(), {}

    assert restores_exactly(Odd(), Odd())
    assert not restores_exactly(Own(), Own())


def test_an_env_that_must_be_the_only_one_can_be_used(registered: Callable[..., str]) -> None:
    class Single(Odd):
        taken: ClassVar[list[Any]] = []

        def __init__(self, render_mode: str = "rgb_array") -> None:
            super().__init__()
            if self.taken:
                raise RuntimeError("in use")
            self.taken.append(self)

        def close(self) -> None:
            self.taken.clear()

    env = make(registered(Single), num_envs=1, size=(4, 4))
    assert not env.restores_exactly()
    played(env)


def test_the_trial_of_restoring_ends_nothing_that_the_env_still_uses(registered: Callable[..., str]) -> None:
    class Ends(Odd):
        closed: ClassVar[list[Any]] = []

        def close(self) -> None:
            self.closed.append(self)

    env = make(registered(Ends), size=(4, 4))
    assert env.restores_exactly()
    assert not Ends.closed
    env.close()
    assert len(Ends.closed) == 5


@pytest.mark.parametrize(
    ("reward", "info", "told"),
    [
        (1e300, {}, "its reward is 1e"),
        (1.0, {"raw_reward": float("nan")}, r"`info\[.raw_reward.\]` is nan"),
        (1.0, {"raw_reward": None}, r"raw_reward.* is None"),
        (1.0, {"episode_over": np.array([False])}, r"episode_over.*not true or false, but ndarray"),
        (1.0, None, "its info is a NoneType, where"),
        (np.ones(2), {}, r"its reward is an array of shape \[2\]"),
    ],
)
def test_what_no_return_can_hold_is_reported(registered: Callable[..., str], reward: Any, info: Any, told: str) -> None:
    class Bad(Odd):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            self.reward, self.info = reward, info
            return super().step(action)

    with pytest.raises(EnvFailed, match=rf"Odd-v0: step\([01]\) raised .*{told}.* \(after 0 steps"):
        played(make(registered(Bad)))


def test_what_a_step_or_a_reset_returns_is_checked(registered: Callable[..., str]) -> None:
    class Four(Odd):
        def step(self, action: Any) -> Any:
            return super().step(action)[1:]

    class Bare(Odd):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            return super().reset(seed=seed)[0]

    with pytest.raises(EnvFailed, match=r"it returns a tuple of 4, where Gymnasium's envs return \(observation, reward, terminated"):
        played(make(registered(Four)))
    with pytest.raises(
        EnvFailed, match=r"reset raised TypeError: it returns a ndarray, where Gymnasium's envs return \(observation, info\)"
    ):
        played(make(registered(Bare)))


def test_a_reward_may_be_an_array_of_one_and_a_generator_one_of_old(registered: Callable[..., str]) -> None:
    class Old(Odd):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            if seed is not None:
                self.np_random = np.random.RandomState(seed)  # type: ignore[assignment]
            self.colour, self.steps = int(self.np_random.random_sample() * 100), 0  # type: ignore[attr-defined]
            return self.render(), {}

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            seen, _, *_ = super().step(action)
            return seen, np.array([1.5]), self.steps == 3, False, {}

    assert (played(make(registered(Old)))["reward"] == 1.5).all()


def test_actions_are_within_bounds_that_float32_does_not_hold(registered: Callable[..., str]) -> None:
    class Strict(Odd):
        action_space = spaces.Box(np.array([-0.1, 0.3]), np.array([0.1, 0.7]), dtype=np.float64)

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            assert self.action_space.contains(action), action
            return super().step(0)

    env = make(registered(Strict))
    bounds = env.action_spec.space
    for action in (bounds.low, bounds.high):
        env.step(env.reset().set("action", action))
    env.close()
    assert within(Strict.action_space, np.float32([[-0.1, 0.5], [-0.25, 0.5]])).tolist() == [[-0.1, 0.5], [-0.25, 0.5]], "rounding alone"


def test_an_observation_other_than_its_space_promises_is_reported(registered: Callable[..., str]) -> None:
    class Float(Odd):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            _, *rest = super().step(action)
            return self.render() / 255, *rest

    with pytest.raises(EnvFailed, match=r"its observation is float64 \[4, 4, 3\], where its space promises uint8"):
        played(make(registered(Float), observation="env"))


def test_an_env_that_ends_the_process_is_reported(registered: Callable[..., str]) -> None:
    class Leaves(Odd):
        def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
            raise SystemExit(3)

    with pytest.raises(EnvFailed, match="raised SystemExit: 3"):
        played(make(registered(Leaves)))


def test_bounds_beyond_float32_are_refused(registered: Callable[..., str]) -> None:
    class Huge(Odd):
        action_space = spaces.Box(-1e308, 1e308, (2,), np.float64)

    with pytest.raises(UserError, match="supported are Discrete and bounded"):
        make(registered(Huge))


def test_lists_in_a_recipe_are_the_tuples_that_wrappers_ask_for(registered: Callable[..., str]) -> None:
    wrapper = Wrapping(path="gymnasium.wrappers:ReshapeObservation", shape=[2, 8, 3])
    env = make(registered(Odd), observation="env", wrappers=[wrapper])
    assert env.frame_shape[-2:] == (2, 8)
    env.close()
