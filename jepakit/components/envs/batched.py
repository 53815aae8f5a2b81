"""N Gymnasium simulators stepped side by side as one batched TorchRL env; a subclass decides what a frame is."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, TensorSpec, Unbounded
from torchrl.envs import EnvBase

from jepakit.components.envs.processes.remote import in_processes
from jepakit.components.envs.state import State, StateReader
from jepakit.components.envs.tape import Simulator, Tape, restores_exactly
from jepakit.errors import UserError, shown
from jepakit.protocols import ACTION, EPISODE_LENGTH, EPISODE_OVER, EPISODE_RETURN, LEARNED_RETURN, PIXELS, Distraction, FrameShape

MAX_ENVS = 4096
ENDS = ("done", "terminated", "truncated")
LARGEST = torch.finfo(torch.float32).max  #: reward


class EnvFailed(Exception):
    """A simulator raised; the message says which one, when, and with which seed to reproduce it."""


class BatchedEnv(EnvBase):
    """Keeps each simulator's stack of the last K frames, return and length; a subclass defines one frame.

    Observations hold ``pixels`` and what `jepakit.protocols.Env` names, in new tensors at every step: a collector keeps references,
    and an episode's final stack must outlive the next reset.

    Learning may see other rewards and ends of episodes than the task has. A simulator reports the task's in ``info``: ``raw_reward``
    (absent: the reward) and ``episode_over`` (absent: terminated or truncated). A step that ends an episode for learning alone sets
    ``episode_over`` to False, and so does the reset after it, which continues the same episode. Return and length are the task's.

    Args:
        seed: Seed from which all simulators' seeds are drawn.
        id: Names the env in messages.
        make: Creates one Gymnasium simulator.
        num_envs: N.
        frame_shape: The shape of one simulator's stack.
        pixels: The dtype of a stack: uint8 or float32.
        frames_per_step: Simulator frames in one env step, because the simulators repeat each action.
        processes: How many processes the simulators are spread over; 1: they are stepped in this one.

    Raises:
        UserError: The simulators' kind of actions is not supported.
    """

    def __init__(
        self,
        seed: int,
        id: str,
        make: Callable[[], Simulator],
        num_envs: int,
        frame_shape: FrameShape,
        pixels: torch.dtype,
        frames_per_step: int = 1,
        processes: int = 1,
    ) -> None:
        if num_envs > MAX_ENVS:
            raise UserError(f"num_envs {num_envs} is more simulators than one process can step: at most {MAX_ENVS}")
        super().__init__(batch_size=[num_envs], device="cpu")
        self.id, self.make, self.frame_shape, self.frames_per_step = id, make, frame_shape, frames_per_step
        self.simulators: list[Any] = in_processes(make, num_envs, processes) if processes > 1 else [Tape(make()) for _ in range(num_envs)]
        self.action_space = self.simulators[0].action_space
        self._make_specs(pixels)

        # The state of the episodes, other than the simulators'. Changed in place; observations are copies.
        self.stacks = torch.zeros(num_envs, *frame_shape, dtype=pixels)
        self.returns = torch.zeros(num_envs, 1, dtype=torch.float64)  # sums of many rewards, told as float32
        self.learned_returns = torch.zeros(num_envs, 1, dtype=torch.float64)
        self.lengths = torch.zeros(num_envs, 1, dtype=torch.int64)
        self.distractions: Sequence[Distraction] = ()  #: what frames are shown through
        self.episodes = [0] * num_envs  #: how many each simulator has begun since it was seeded
        self.is_restored = False  #: the next reset continues the restored episodes instead of starting new ones
        self.seconds = 0.0  #: wall-clock time in steps and resets so far
        self.first_simulator = 0  #: its number among the simulators of all ranks
        self._first_seeds: list[int] = []
        self._seeds: list[int | None] = []
        self.set_seed(seed)
        self.is_closed = False
        self.tried: list[Simulator] = []  #: not closed before the others: closing one of pygame's ends pygame

    @property
    def single_action_spec(self) -> TensorSpec:
        """The spec of one env's action."""
        return self.action_spec_unbatched

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Closes the simulators."""
        super().close(raise_if_closed=raise_if_closed)
        for simulator in (*self.simulators, *self.tried):
            simulator.close()
        self.tried = []

    def restores_exactly(self) -> bool:
        """Whether a restored env continues exactly as this one would, tested on two new simulators, which are closed with this one."""
        try:
            for _ in range(2):
                self.tried.append(self.make())
            return restores_exactly(*self.tried[-2:])
        except Exception:
            return False  # such as a simulator that must be the only one

    def snapshot(self) -> dict[str, Any]:
        """The state of all episodes: tensors and JSON values."""
        return {
            "simulators": [simulator.snapshot() for simulator in self.simulators],
            "seeds": list(self._seeds),
            "stacks": self.stacks.clone(),
            "returns": self.returns.clone(),
            "learned_returns": self.learned_returns.clone(),
            "lengths": self.lengths.clone(),
            "episodes": list(self.episodes),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Restore ``snapshot``. The next reset, a new collector's first call, then changes nothing and returns the restored stacks."""
        for simulator, where in zip(self.simulators, snapshot["simulators"], strict=True):
            simulator.restore(where)
        self._seeds = list(snapshot["seeds"])
        for name in ("stacks", "returns", "learned_returns", "lengths"):
            setattr(self, name, snapshot[name].to(getattr(self, name).dtype, copy=True))
        self.episodes = list(snapshot["episodes"])
        self.is_restored = True

    def true_state(self, read: StateReader | None = None) -> list[State]:
        """The true state of each simulator now (`jepakit.protocols.HasState`): for probes, never for the agent."""
        return [simulator.true_state(read) for simulator in self.simulators]

    @abstractmethod
    def _frame(self, n: int, observation: Any) -> Tensor:
        """The current frame of simulator ``n``, [C, H, W]; its last reset or step returned ``observation``."""

    def _began(self, n: int, info: dict[str, Any]) -> None:
        """An episode of simulator ``n`` has begun; its reset told ``info``."""

    def _background(self, n: int, frame: Tensor) -> Tensor:
        """Where ``frame`` [C, H, W], the current one of simulator ``n``, shows background: bool [H, W].

        Here that is its most common colour. A simulator that knows better overrides this.
        """
        colours = frame[0].int() if len(frame) == 1 else frame.int().mul(torch.tensor([1 << 16, 1 << 8, 1])[:, None, None]).sum(dim=0)
        return colours == colours.flatten().mode().values

    def _shown(self, n: int, observation: Any) -> Tensor:
        """The current frame of simulator ``n`` as the agent sees it: through the distractions."""
        with self._naming(n, "drawing"):
            frame = self._frame(n, observation)
            if frame.shape != self.frame_shape[1:]:
                told, first = (" × ".join(map(str, shape)) for shape in (frame.shape, self.frame_shape[1:]))
                raise ValueError(f"it gives a frame of {told} (channels, height, width), and its first was {first}: set `env.size`")
        return self._distracted(n, frame)

    def _distracted(self, n: int, undistracted: Tensor) -> Tensor:
        """A frame as the agent would see it now, in the present episode of simulator ``n``."""
        if not self.distractions:
            return undistracted
        frame = undistracted
        background: Callable[[], Tensor] = cache(lambda: self._background(n, undistracted))
        episode, step = (self._first_seeds[n] << 32) + self.episodes[n], int(self.lengths[n])
        for distraction in self.distractions:
            frame = distraction(frame, background, episode, step)
            if getattr(distraction, "moves", False):
                background = _moved(distraction, background, episode, step)
        return frame

    def _make_specs(self, pixels: torch.dtype) -> None:
        n = self.batch_size
        shape = (*n, *self.frame_shape)
        self.observation_spec = Composite(
            {
                PIXELS: Bounded(0, 255, shape=shape, dtype=pixels) if pixels == torch.uint8 else Unbounded(shape, dtype=pixels),
                EPISODE_RETURN: Unbounded((*n, 1)),
                LEARNED_RETURN: Unbounded((*n, 1)),
                EPISODE_LENGTH: Unbounded((*n, 1), dtype=torch.int64),
                EPISODE_OVER: Categorical(2, shape=(*n, 1), dtype=torch.bool),
            },
            shape=n,
        )
        self.action_spec = self._make_action_spec()
        self.reward_spec = Unbounded((*n, 1))
        self.done_spec = Composite({key: Categorical(2, shape=(*n, 1), dtype=torch.bool) for key in ENDS}, shape=n)

    def _make_action_spec(self) -> TensorSpec:
        space, n = self.action_space, self.batch_size
        if isinstance(space, spaces.Discrete):
            return Categorical(int(space.n), shape=n)
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype.kind == "f" and space.is_bounded():
            with np.errstate(over="ignore"):
                low, high = (torch.from_numpy(bound.astype(np.float32)).expand(*n, -1) for bound in (space.low, space.high))
            if low.isfinite().all() and high.isfinite().all():
                return Bounded(low, high, shape=low.shape, dtype=torch.float32)
        raise UserError(f"id {self.id}: its actions are {space}; supported are Discrete and bounded one-dimensional float Box actions")

    def _set_seed(self, seed: int | None) -> None:
        # Only the next reset seeds each simulator: later episodes continue its own stream.
        first = self.first_simulator
        self._first_seeds = np.random.SeedSequence(seed).generate_state(first + self.numel())[first:].tolist()
        self._seeds = list(self._first_seeds)
        self.episodes = [0] * self.numel()

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDictBase:
        started = time.perf_counter()
        asked = None if tensordict is None else tensordict.get("_reset", None)
        which = list(range(self.numel())) if asked is None else asked.flatten().nonzero().flatten().tolist()
        if self.is_restored:
            self.is_restored, which = False, []
        for n in which:
            with self._naming(n, "reset"):
                observation, info = self.simulators[n].reset(seed=self._seeds[n])
            self._seeds[n] = None
            if info.get("episode_over", True):
                self.returns[n], self.learned_returns[n], self.lengths[n] = 0.0, 0.0, 0
                self.episodes[n] += 1
                with self._naming(n, "reset"):
                    self._began(n, info)
            self.stacks[n] = self._shown(n, observation)
        now = self._observation().update({key: torch.zeros_like(self.lengths, dtype=torch.bool) for key in (EPISODE_OVER, *ENDS)})
        self.seconds += time.perf_counter() - started
        return now

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        started = time.perf_counter()
        observations, rewards, raw_rewards, terminated, truncated, over = [], [], [], [], [], []
        actions = self._to_gymnasium(tensordict[ACTION])
        for simulator, action in zip(self.simulators, actions, strict=True):
            simulator.begin(action)
        for n, action in enumerate(actions):
            with self._naming(n, f"step({action})"):
                observation, reward, has_terminated, has_truncated, info = self.simulators[n].step(action)
                rewards.append([_finite(reward)])
                raw_rewards.append([_finite(info.get("raw_reward", reward), '`info["raw_reward"]`')])
                over.append([_is_over(info, bool(has_terminated or has_truncated))])
            observations.append(observation)
            terminated.append([bool(has_terminated)])
            truncated.append([bool(has_truncated)])
        reward = torch.tensor(rewards, dtype=torch.float64)
        self.returns += torch.tensor(raw_rewards, dtype=torch.float64)
        self.learned_returns += reward
        self.lengths += 1
        self.stacks = self.stacks.roll(-1, dims=1)  # a new tensor
        for n, observation in enumerate(observations):
            self.stacks[n, -1] = self._shown(n, observation)  # copied before the next is drawn, perhaps into the same memory
        ends = {"terminated": torch.tensor(terminated), "truncated": torch.tensor(truncated), EPISODE_OVER: torch.tensor(over)}
        step = self._observation().update({"reward": reward.float(), **ends, "done": ends["terminated"] | ends["truncated"]})
        self.seconds += time.perf_counter() - started
        return step

    @contextmanager
    def _naming(self, n: int, call: str) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            where = f"after {self.lengths[n].item()} steps of an episode of simulator {n}, seeded with {self._first_seeds[n]}"
            raise EnvFailed(f"{self.id}: {call} raised {type(error).__name__}: {error} ({where})") from error

    def _observation(self) -> TensorDict:
        returns = {EPISODE_RETURN: self.returns.float(), LEARNED_RETURN: self.learned_returns.float()}
        now = {PIXELS: self.stacks.clone(), **returns, EPISODE_LENGTH: self.lengths.clone()}
        return TensorDict(now, batch_size=self.batch_size, device=self.device)

    def _to_gymnasium(self, actions: Tensor) -> list[Any]:
        if isinstance(self.action_space, spaces.Discrete):
            return (actions + int(self.action_space.start)).tolist()
        return list(within(self.action_space, actions.numpy()))


def within(space: spaces.Box, actions: np.ndarray) -> np.ndarray:
    """Actions [N, A] in the dtype of ``space``. Those that float32 has rounded to beyond its bounds are at the bounds."""
    exact = actions.astype(space.dtype)
    bounded = np.clip(exact, space.low, space.high)
    return np.where(np.abs(exact - bounded) <= np.spacing(np.abs(actions)), bounded, exact)


def _moved(distraction: Distraction, background: Callable[[], Tensor], episode: int, step: int) -> Callable[[], Tensor]:
    """Where the background is after a distraction that moves what is seen."""
    return cache(lambda: distraction(background()[None].to(torch.uint8), background, episode, step)[0].bool())


def _finite(reward: Any, name: str = "reward") -> float:
    """A reward as float32 holds it."""
    if isinstance(reward, np.ndarray) and reward.ndim:
        if reward.size != 1:
            raise ValueError(f"its {name} is an array of shape {list(reward.shape)}, where a number is needed")
        reward = reward.item()
    try:
        number = float(reward)
    except (TypeError, ValueError):
        number = np.nan
    if not abs(number) <= LARGEST:
        raise ValueError(f"its {name} is {shown(str(reward))}")
    return number


def _is_over(info: dict[str, Any], ends: bool) -> bool:
    """Whether the task's episode is over: as ``info`` says, or else if the step ends an episode."""
    over = info.get("episode_over", ends)
    if isinstance(over, np.ndarray | np.generic | Tensor) and not over.ndim:
        over = over.item()
    if not (isinstance(over, int) and over in (0, 1)):
        told = f"{type(over).__name__} {shown(str(over))}"
        raise ValueError(f'its `info["episode_over"]`, by which the task\'s episodes are counted, is not true or false, but {told}')
    return bool(over)
