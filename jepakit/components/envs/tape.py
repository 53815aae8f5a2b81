"""What brings a simulator back to where it was: its own state where it offers that, else the actions since its last reset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

JSON = Any  #: what JSON can hold
SIDE_STEPS = 40  #: that a restored simulator is watched for

Simulator = gymnasium.Env[Any, Any]


class Tape(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes the state of a simulator's generator before each reset, and the actions since.

    A simulator whose ``unwrapped`` has ``save_state() -> JSON`` and ``load_state(JSON)`` is asked for its state instead; that has to
    include its generator. The steps of Gymnasium's `TimeLimit` are put back; other wrappers with a state of their own are its matter, too.
    """

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        self.generator: JSON = None  #: before the last reset; None: that reset was seeded
        self.seed: int | None = None  #: of the last reset
        self.actions: list[Any] = []  #: since then

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the simulator, and begins the tape anew."""
        self.generator = _plain(self.unwrapped.np_random.bit_generator.state) if seed is None else None
        self.seed, self.actions = seed, []
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the simulator, and notes the action."""
        self.actions.append(action)
        return super().step(action)

    def snapshot(self) -> JSON:
        """Where the simulator is."""
        tape = {"generator": self.generator, "seed": self.seed, "actions": [_plain(action) for action in self.actions]}
        if self._offers_state:
            tape["state"] = self.unwrapped.save_state()  # type: ignore[attr-defined]
        return tape

    def restore(self, snapshot: JSON) -> None:
        """Go there."""
        if snapshot["generator"] is not None:
            self.unwrapped.np_random.bit_generator.state = _arrays(snapshot["generator"])
        super().reset(seed=snapshot["seed"])
        actions = [self._action(action) for action in snapshot["actions"]]
        if "state" in snapshot:
            self.unwrapped.load_state(snapshot["state"])  # type: ignore[attr-defined]
            self._set_elapsed(len(actions))
        else:
            for action in actions:
                super().step(action)
        self.generator, self.seed, self.actions = snapshot["generator"], snapshot["seed"], actions

    @property
    def _offers_state(self) -> bool:
        return hasattr(self.unwrapped, "save_state") and hasattr(self.unwrapped, "load_state")

    def _set_elapsed(self, steps: int) -> None:
        wrapped = self.env
        while isinstance(wrapped, gymnasium.Wrapper):
            if isinstance(wrapped, TimeLimit):
                wrapped._elapsed_steps = steps  # type: ignore[assignment]
            wrapped = wrapped.env

    def _action(self, action: Any) -> Any:
        dtype = self.action_space.dtype
        return np.array(action, dtype=dtype) if isinstance(action, list) else action


def restores_exactly(make: Callable[[], Simulator]) -> bool:
    """Whether a simulator that was restored shows and does what the one shows and does that it was restored from.

    Args:
        make: Makes simulators of the sort in question; two are made, and closed again.
    """
    original, restored = Tape(make()), Tape(make())
    try:
        draws = np.random.default_rng(0)
        original.reset(seed=1)
        restored.reset(seed=2)
        for simulator in (original, restored, original, restored, restored):  # neither is new, nor where the other is
            for _ in range(SIDE_STEPS):
                _advance(simulator, _draw(simulator, draws))
        try:
            restored.restore(original.snapshot())
        except Exception:
            return False
        return all(
            _same(_advance(original, action), _advance(restored, action)) for action in (_draw(original, draws) for _ in range(SIDE_STEPS))
        )
    finally:
        original.close()
        restored.close()


def _draw(simulator: Simulator, draws: np.random.Generator) -> Any:
    space: Any = simulator.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.start) + int(draws.integers(space.n))
    return draws.uniform(space.low, space.high).astype(space.dtype)


def _advance(simulator: Simulator, action: Any) -> list[Any]:
    """One step, with the reset that may follow it: all that can be seen of it."""
    observation, reward, terminated, truncated, _ = simulator.step(action)
    seen = [observation, reward, terminated, truncated]
    if simulator.render_mode == "rgb_array":
        seen.append(simulator.render())
    if terminated or truncated:
        seen.append(simulator.reset()[0])
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
    """A generator's state as numpy takes it: MT19937's key is an array."""
    if isinstance(state, dict):
        return {name: _arrays(entry) for name, entry in state.items()}
    return np.array(state, dtype=np.uint32) if isinstance(state, list) else state
