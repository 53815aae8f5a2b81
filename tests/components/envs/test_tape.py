"""Simulators are restored exactly, or `restores_exactly` says that they are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from jepakit.components.envs.gym import GymEnv
from jepakit.components.envs.tape import Simulator, Tape, restores_exactly

Make = Callable[[], Simulator]


class Walk(gymnasium.Env[Any, Any]):
    """A random walk whose steps and resets draw from its own generator; `quirk` names its defect."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    hidden = 0  #: shared by all instances, like a global
    begun = 0  #: episodes

    def __init__(self, quirk: str = "", actions: spaces.Space[Any] | None = None) -> None:
        self.quirk, self.render_mode = quirk, "rgb_array"
        self.action_space = actions or spaces.Discrete(3, start=5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.steps = self.np_random.normal(size=2), 0
        self.begun += 1
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        noise = np.random.default_rng() if self.quirk == "entropy" else self.np_random
        self.at = self.at + noise.normal(size=2) + np.sum(action)
        self.steps += 1
        if self.quirk == "global":
            Walk.hidden += 1
            self.at[0] += Walk.hidden
        if self.quirk == "curriculum" and self.begun > 2:
            self.at[0] *= 2
        if self.quirk == "breaks" and self.steps == 3:
            raise ArithmeticError("in the midst of an episode")
        return self._seen(), float(self.at[0]), bool(self.np_random.random() < 0.1), self.steps == 30, {}

    def _seen(self) -> Any:
        if self.quirk == "dictionary":
            return {"at": self.at, "more": (self.at[0], [np.nan, "text"])}
        return np.array([np.nan, 1.0]) if self.quirk == "nan" else self.at

    def render(self) -> Any:
        extra = np.random.default_rng().random() if self.quirk == "noisy picture" else 0
        return np.full((2, 2, 3), self.at[1] + extra)


class Saves(Walk):
    """Saves and loads its own state, which replaying its actions cannot restore."""

    mine = 0  #: steps of all episodes, which replaying the current one cannot restore

    def __init__(self, forgets: bool = False) -> None:
        super().__init__()
        self.forgets = forgets

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.mine += 1
        self.at = self.at + self.mine
        self.steps += 1
        return self.at, float(self.at[0]), False, self.steps == 30, {}

    def save_state(self) -> Any:
        state = {"at": self.at.tolist(), "steps": self.steps, "rng": self.np_random.bit_generator.state}
        return state if self.forgets else state | {"mine": self.mine}

    def load_state(self, state: Any) -> None:
        self.at, self.steps, self.mine = np.array(state["at"]), state["steps"], state.get("mine", 0)
        self.np_random.bit_generator.state = state["rng"]


def follow(one: Tape, other: Tape, steps: int = 60) -> None:
    one.action_space.seed(3)
    for _ in range(steps):
        action = one.action_space.sample()
        (seen, *rest, _), (theirs, *their_rest, _) = one.step(action), other.step(action)
        assert np.array_equal(seen, theirs)
        assert rest == their_rest
        assert np.array_equal(one.render(), other.render())
        if rest[1] or rest[2]:
            assert np.array_equal(one.reset()[0], other.reset()[0])


MAKERS: dict[str, Make] = {
    "walk": Walk,
    "boxes": partial(Walk, actions=spaces.Box(-1, 1, (2,))),
    "own state": Saves,
    "own state, limited": lambda: TimeLimit(Saves(), 12),
    "cart pole": partial(gymnasium.make, "CartPole-v1", render_mode="rgb_array", max_episode_steps=9),
    "pendulum": partial(gymnasium.make, "Pendulum-v1", render_mode="rgb_array", max_episode_steps=25),
    "acrobot": partial(gymnasium.make, "Acrobot-v1", render_mode="rgb_array"),
    "mountain car": partial(gymnasium.make, "MountainCar-v0", render_mode="rgb_array"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize(("steps", "resets"), [(0, 1), (7, 1), (0, 3), (5, 3)])
def test_a_restored_simulator_continues_like_the_original(make: Make, steps: int, resets: int) -> None:
    """Also right after a reset, in later episodes whose resets were not seeded, and through JSON."""
    original, restored = Tape(make()), Tape(make())
    original.action_space.seed(0)
    for number in range(resets):
        original.reset(seed=5 if number == 0 else None)
        for _ in range(steps):
            original.step(original.action_space.sample())
    restored.reset(seed=99)
    where = json.loads(json.dumps(original.snapshot()))
    restored.restore(where)
    assert restored.snapshot() == original.snapshot()
    follow(original, restored, steps=30)


def test_a_snapshot_leaves_its_simulator_unchanged() -> None:
    watched, other = Tape(Walk()), Tape(Walk())
    for tape in (watched, other):
        tape.reset(seed=1)
    for _ in range(5):
        watched.snapshot()
        assert np.array_equal(watched.step(6)[0], other.step(6)[0])


def test_a_reset_clears_the_tape() -> None:
    tape = Tape(Walk())
    tape.reset(seed=1)
    for _ in range(4):
        tape.step(6)
    assert tape.snapshot()["actions"] == [6, 6, 6, 6]
    tape.reset()
    assert tape.snapshot()["actions"] == []


def test_legacy_generators_are_restored() -> None:
    """MT19937's state holds an array."""
    original, restored = Tape(Walk()), Tape(Walk())
    for tape in (original, restored):
        tape.reset(seed=1)
        tape.unwrapped.np_random = np.random.Generator(np.random.MT19937(4 if tape is original else 5))
        tape.reset()
    original.step(5)
    restored.restore(json.loads(json.dumps(original.snapshot())))
    follow(original, restored)


@pytest.mark.parametrize(
    ("make", "exact"),
    [
        *((MAKERS[name], True) for name in ("walk", "boxes", "own state", "cart pole")),
        (partial(Walk, "nan"), True),
        (partial(Walk, "dictionary"), True),
        (partial(Walk, "entropy"), False),
        (partial(Walk, "global"), False),
        (partial(Walk, "curriculum"), False),
        (partial(Walk, "noisy picture"), False),
        (partial(Saves, forgets=True), False),
    ],
)
def test_restores_exactly_detects_inexact_simulators(make: Make, exact: bool) -> None:
    assert restores_exactly(make(), make()) == exact


def test_a_picture_that_depends_on_earlier_ones_is_not_exact() -> None:
    """As Taxi's, which turns where it is drawn: only some actions, right after a restore, show it."""

    class Turns(Walk):
        turned = last = 0

        def step(self, action: Any) -> Any:
            self.last = int(action)
            return super().step(action)

        def render(self) -> Any:
            if self.last < 7:
                self.turned = self.last
            return super().render() + np.uint8(self.turned)

    assert not restores_exactly(Turns(), Turns())


def test_episodes_that_lengthen_with_their_number_are_not_exact() -> None:
    class Lengthens(Walk):
        def step(self, action: Any) -> Any:
            observation, reward, *_ = super().step(action)
            return observation, reward, self.steps > self.begun, False, {}

    assert not restores_exactly(Lengthens(), Lengthens())


def test_a_state_that_cannot_be_loaded_is_not_exact() -> None:
    class Broken(Saves):
        def load_state(self, state: Any) -> None:
            raise KeyError("not today")

    assert not restores_exactly(Broken(), Broken())


def play(env: GymEnv, steps: int) -> list[torch.Tensor]:
    torch.manual_seed(4)
    seen, now = [], env.reset()
    seen.append(now["pixels"])
    for _ in range(steps):
        step, now = env.step_and_maybe_reset(now.set("action", torch.randint(2, (3,))))
        seen += [step["next", key] for key in ("pixels", "reward", "done", "episode_return", "episode_length")]
    return seen


def test_a_restored_env_matches_the_original_from_its_first_reset() -> None:
    def make(seed: int) -> GymEnv:
        return GymEnv(seed, id="CartPole-v1", num_envs=3, size=(8, 12), max_episode_steps=11)

    env, other = make(0), make(1)
    assert env.restores_exactly()
    play(env, 17)
    where = env.snapshot()
    other.restore(where)
    # play() resets first, as a new collector does; is_restored lets the original env keep its episodes through that reset
    env.is_restored = True
    assert all(torch.equal(one, two) for one, two in zip(play(env, 30), play(other, 30), strict=True))
    third = make(2)
    third.restore(where)  # the snapshot is unaffected by the later steps of its env
    other.restore(where)
    assert all(torch.equal(one, two) for one, two in zip(play(third, 5), play(other, 5), strict=True))
