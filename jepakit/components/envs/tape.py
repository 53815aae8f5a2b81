"""Restores a simulator: from its own saved state if it offers one, else by replaying the actions since its last reset."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from jepakit.components.envs.state import State, StateReader, true_state

JSON = Any  #: a JSON value
SIDE_STEPS = 40  #: steps before and after the trial restore
UNSEEN_STEPS, SHOWN_EVERY = 60, 3  #: further ones, of which the restored simulator draws every third alone
RESET = ("observation", "info")  #: what a simulator's methods return
STEP = ("observation", "reward", "terminated", "truncated", "info")

Simulator = gymnasium.Env[Any, Any]


class Tape(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records the state of a simulator's generator before each episode, and the actions since.

    A reset that continues its episode (``info["episode_over"]`` is False) is recorded among the actions, as None.

    If ``unwrapped`` has ``save_state() -> JSON`` and ``load_state(JSON)``, these are used instead; that state must include the generator.
    `Tape` restores the step count of Gymnasium's `TimeLimit`; the simulator's state must cover any other wrapper with a state of its own.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.generator: JSON = None  #: the generator's state before the episode's reset; None: that reset was seeded
        self.seed: int | None = None  #: seed of that reset
        self.actions: list[Any] = []  #: actions since then; none if the simulator offers its state

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the simulator, and clear the tape unless the episode continues."""
        bits = getattr(self.unwrapped.np_random, "bit_generator", None) if seed is None else None  # a RandomState of old has none
        generator = _plain(bits.state) if bits else None
        observation, info = whole(super().reset(seed=seed, options=options), RESET)
        if info.get("episode_over", True):
            self.generator, self.seed, self.actions = generator, seed, []
        elif not self._offers_state:
            self.actions.append(None)
        return observation, info

    def begin(self, action: Any) -> None:
        """Announces the action of the next step; only a simulator in another process starts on it."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the simulator and record the action."""
        if not self._offers_state:
            self.actions.append(action)
        return whole(super().step(action), STEP)

    def snapshot(self) -> JSON:
        """What `restore` needs to return here."""
        tape = {"generator": self.generator, "seed": self.seed, "actions": [_plain(action) for action in self.actions]}
        if self._offers_state:
            tape["state"] = self.unwrapped.save_state()  # type: ignore[attr-defined]
            tape["elapsed"] = [limit._elapsed_steps for limit in self._limits()]
        return tape

    def restore(self, snapshot: JSON) -> None:
        """Return the simulator to the state of ``snapshot``."""
        if snapshot["generator"] is not None:
            self.unwrapped.np_random.bit_generator.state = _arrays(snapshot["generator"])
        super().reset(seed=snapshot["seed"])
        actions = [self._action(action) for action in snapshot["actions"]]
        if "state" in snapshot:
            self.unwrapped.load_state(snapshot["state"])  # type: ignore[attr-defined]
            for limit, elapsed in zip(self._limits(), snapshot["elapsed"], strict=True):
                limit._elapsed_steps = elapsed
        else:
            for action in actions:
                super().reset() if action is None else super().step(action)
        self.generator, self.seed, self.actions = snapshot["generator"], snapshot["seed"], actions

    def true_state(self, read: StateReader | None = None) -> State:
        """The simulator's true state, by ``read`` if given."""
        return (read or true_state)(self.unwrapped)

    @cached_property
    def _offers_state(self) -> bool:
        return hasattr(self.unwrapped, "save_state") and hasattr(self.unwrapped, "load_state")

    def _limits(self) -> Iterator[TimeLimit[Any, Any]]:
        wrapped = self.env
        while isinstance(wrapped, gymnasium.Wrapper):
            if isinstance(wrapped, TimeLimit):
                yield wrapped
            wrapped = wrapped.env

    def _action(self, action: Any) -> Any:
        dtype = self.action_space.dtype
        return np.array(action, dtype=dtype) if isinstance(action, list) else action


def whole(returned: Any, names: tuple[str, ...]) -> Any:
    """What a simulator has returned: as many entries as ``names``, the last one a dict.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        raise TypeError(f"it returns {_kind(returned)}, where Gymnasium's envs return ({', '.join(names)})")
    if not isinstance(returned[-1], dict):
        raise TypeError(f"its info is {_kind(returned[-1])}, where Gymnasium's envs have a dict")
    return returned


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")


def restores_exactly(one: Simulator, other: Simulator) -> bool:
    """Whether a restored simulator renders and behaves exactly like the original.

    What changes later than in the few episodes that are tried, as the difficulty of a curriculum, is not noticed.

    Args:
        one: A new simulator, the original.
        other: Another, which is restored, and has no history, as in a resume.
    """
    original, restored = Tape(one), Tape(other)
    draws = np.random.default_rng(0)
    original.reset(seed=1)
    restored.reset(seed=2)
    for _ in range(2 * SIDE_STEPS):
        _advance(original, _draw(original, draws))
    for _ in range(2):  # an unseeded episode after another, whose beginning may come from a generator that nobody restores
        original.reset()
    for _ in range(SIDE_STEPS):
        _advance(original, _draw(original, draws))
    try:
        restored.restore(original.snapshot())
    except Exception:
        return False
    for number in range(SIDE_STEPS + UNSEEN_STEPS):
        action = _draw(original, draws)
        is_shown = number < SIDE_STEPS or number % SHOWN_EVERY == 0  # a replay does not draw, and some simulators turn where they are drawn
        expected, found = _advance(original, action), _advance(restored, action, is_shown)
        if not is_shown:
            expected.pop("picture", None)
        if not _same(expected, found):
            return False
    return True


def _draw(simulator: Simulator, draws: np.random.Generator) -> Any:
    space: Any = simulator.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.start) + int(draws.integers(space.n))
    return draws.uniform(space.low, space.high).astype(space.dtype)


def _advance(simulator: Simulator, action: Any, is_shown: bool = True) -> dict[str, Any]:
    """Take one step, reset at an episode's end, and return everything observable, a picture only if it ``is_shown``."""
    observation, reward, terminated, truncated, _ = simulator.step(action)
    seen = {"observation": observation, "reward": reward, "terminated": terminated, "truncated": truncated}
    if is_shown and simulator.render_mode == "rgb_array":
        seen["picture"] = simulator.render()
    if terminated or truncated:
        seen["first"] = simulator.reset()[0]
    return seen


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    mine, theirs = np.asarray(one), np.asarray(other)
    return np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f" and theirs.dtype.kind == "f")


def _plain(value: Any) -> JSON:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _arrays(state: JSON) -> JSON:
    """A generator's state in the form that NumPy accepts: MT19937's key is an array."""
    if isinstance(state, dict):
        return {name: _arrays(entry) for name, entry in state.items()}
    return np.array(state, dtype=np.uint32) if isinstance(state, list) else state
