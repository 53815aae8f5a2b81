"""Replay: stores the newest env steps, each frame once, and samples minibatches of windows and n-step returns."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyTensorStorage, RandomSampler, Storage

from jepakit.files.writing import needing
from jepakit.protocols import ACTION, BONUS, MASK, PIXELS, REWARD, TERMINATED, FrameShape, Minibatch, OffPolicyAlgorithm
from jepakit.training.experience.stored import check_stored

if TYPE_CHECKING:
    from jepakit.recipe.schema import Replay as Settings

ALLOWANCE = 16  #: the ring of frames has room for one episode end in this many steps
STEP_BYTES = 30  #: size of one step without its frame, with a discrete action
PRIORITY_EPS = 1e-6  #: added to |TD error|, so that every step can be sampled

logging.getLogger("torchrl").setLevel(logging.WARNING)  # TorchRL logs each new storage to stdout


class Replay:
    """Off-policy experience: rings of steps and of frames, from which sampling rebuilds the stacks.

    Each env has two rings, both written in order of time. The *ring of steps* has a row for each of the newest ``capacity // N`` env
    steps: action, reward, end of episode, and the position of its observation's frame. The *ring of frames* has a frame for each
    observation, including an episode's final one and the newest one, from which no step was taken yet. Positions count all frames that an
    env has written; the frame at position p lies in slot p mod S. Positions are consecutive within an episode. So the position and the age
    of a step's observation (the number of its episode's frames stored before it) determine its stack and the stacks after it; at an
    episode's start the first frame is repeated, as in the env. If an episode opens with a stack of different frames, the older ones are
    stored too.

    The ring of frames has room for one episode end every 16 steps: 1/16 beyond the capacity. If episodes are shorter on average, it holds
    fewer steps than the capacity: a step is sampled only while its whole stack is still stored.

    All random numbers come from torch's global generator. Rings lie in host memory; minibatches go to ``device``.

    Args:
        algorithm: Sets the number and size of updates, and n and γ of the returns.
        horizon: H, steps that a window reaches ahead.
        frames: The shape of one observation's ``pixels``.
        num_envs: N.
        settings: Capacity, and how steps are sampled.
        device: Device of the minibatches.
        folder: Folder for the file of frames; None keeps the frames in memory.
        dtype: The dtype of the env's ``pixels``.

    Raises:
        ValueError: ``capacity`` is smaller than the number of envs.
    """

    def __init__(
        self,
        algorithm: OffPolicyAlgorithm,
        horizon: int,
        frames: FrameShape,
        num_envs: int,
        settings: Settings,
        device: str = "cpu",
        folder: Path | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> None:
        if settings.capacity < num_envs:
            raise ValueError(f"capacity {settings.capacity} has no room for one step of each of {num_envs} envs")
        self.algorithm = algorithm
        self.horizon = horizon
        self.frame_shape = frames
        self.num_envs = num_envs
        self.settings = settings
        self.device = device
        self.folder = folder
        self.dtype = dtype

        self.rows = settings.capacity // num_envs  #: maximum steps per env
        self.slots = self.rows + -(-self.rows // ALLOWANCE) + frames.frames + 1  #: S, maximum frames per env
        self.storage = LazyTensorStorage(self.rows * num_envs)  #: the ring of steps; row (step mod rows) · N + env
        self.sampler: RandomSampler | Prioritized = RandomSampler()
        if settings.sampler == "prioritized":
            self.sampler = Prioritized(self.rows * num_envs, settings.alpha, settings.beta)

        self.steps = 0  #: taken so far by each env
        self.updates = 0  #: minibatches handed out so far
        self.end = torch.zeros(num_envs, dtype=torch.int64)  #: frames written so far by each env
        self.first = torch.zeros(num_envs, dtype=torch.int64)  #: position at which its running episode begins
        self.live = torch.zeros(num_envs, dtype=torch.bool)  #: whether its newest frame belongs to a running episode

    @cached_property
    def frames(self) -> Tensor:
        """The ring of frames [S · N, C, H, W], in memory, allocated as it fills, or in a file; slot (position mod S) · N + env."""
        shape = (self.slots * self.num_envs, *self.frame_shape[1:])
        if self.folder is None:
            return torch.empty(shape, dtype=self.dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        file, size = self.folder / "frames.bin", torch.Size(shape).numel()
        size_bytes = size * self.dtype.itemsize
        with needing(size_bytes, "the replay's file", self.folder), file.open("ab") as ring:
            if hasattr(os, "posix_fallocate"):  # now: to write to a page without room is a segmentation fault
                os.posix_fallocate(ring.fileno(), 0, size_bytes)
        return torch.from_file(str(file), shared=True, size=size, dtype=self.dtype).view(shape)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the full rings, by part (with discrete actions), computed without allocating them."""
        frame = torch.Size(self.frame_shape[1:]).numel() * self.dtype.itemsize
        capacity = self.rows * self.num_envs
        sizes = {"frames": self.slots * self.num_envs * frame, "steps": capacity * STEP_BYTES, "priorities": 0}
        if isinstance(self.sampler, Prioritized):
            sizes["priorities"] = self.sampler.powers.nbytes
        return sizes

    def extend(self, batch: TensorDictBase) -> None:
        """Append a collected batch [N, T] that continues the previous one."""
        batch = batch.select(PIXELS, ACTION, "next").cpu()
        here, after, done = batch[PIXELS], batch["next", PIXELS], batch["next", "done"].squeeze(-1)
        num_envs, taken = done.shape

        # Step (n, t) adds the older frames of a stack that opens an episode, its own observation, and the next observation unless the
        # next step adds that. The newest frame of a live env is this batch's first observation, so it is written again.
        opens = torch.cat((~self.live[:, None], done[:, :-1]), dim=1)
        older = opens.clone()
        older[opens] = (here[opens] != here[opens][:, -1:]).flatten(1).any(dim=1)
        last = done.clone()
        last[:, -1] = True
        history = older * (self.frame_shape.frames - 1)
        adds = history + 1 + last
        begin = (self.end - self.live.long())[:, None] + adds.cumsum(dim=1) - adds
        position = begin + history
        first = torch.where(opens, begin, self.first[:, None]).cummax(dim=1).values

        self.end, self.first, self.live = position[:, -1] + 2, first[:, -1], ~done[:, -1]
        env = torch.arange(num_envs)[:, None].expand_as(position)
        self.write_frames(env, position, here[:, :, -1])
        self.write_frames(env[last], position[last] + 1, after[:, :, -1][last])
        for back in range(1, self.frame_shape.frames):
            self.write_frames(env[older], position[older] - back, here[:, :, -1 - back][older])

        rows = TensorDict(
            {
                ACTION: batch[ACTION],
                REWARD: batch["next", "reward"],
                "done": batch["next", "done"],
                "terminated": batch["next", "terminated"],
                "position": position,
                "age": position - first,
            },
            batch_size=done.shape,
        )
        if (bonus := batch["next"].get(BONUS, None)) is not None:
            rows[BONUS] = bonus
        rows = rows[:, -self.rows :]
        self.steps += taken
        step = torch.arange(self.steps - rows.shape[1], self.steps)
        index = self._row(step[:, None], torch.arange(num_envs)).flatten()  # time first
        self.storage.set(index, rows.transpose(0, 1).reshape(-1))
        if isinstance(self.sampler, Prioritized):
            self.sampler.update_priority(index, self.sampler.default_priority.expand(index.shape))

    def minibatches(self) -> Iterator[Minibatch]:
        """Yield minibatches until there are ``updates_per_step`` updates per env step after the first ``learning_starts`` steps."""
        learnt_from = max(0, self.steps * self.num_envs - self.algorithm.learning_starts)
        for _ in range(self.updates, round(self.algorithm.updates_per_step * learnt_from)):
            self.updates += 1
            yield self.sample()

    def learned(self, minibatch: Minibatch) -> None:
        """Prioritised replay: take new priorities from ``steps["td_error"]``, [B] or [B, 1]."""
        if isinstance(self.sampler, Prioritized):
            error = minibatch.steps["td_error"].detach().abs().float()
            self.sampler.update_priority(minibatch.steps["index"].cpu(), error.flatten().cpu())

    def anneal(self, progress: float) -> None:
        """Prioritised replay: move β linearly to 1 with ``progress``."""
        if isinstance(self.sampler, Prioritized):
            self.sampler.beta = self.settings.beta + (1 - self.settings.beta) * progress

    def sample(self, rows: int | None = None) -> Minibatch:
        """Sample a minibatch, or ``rows``, of steps with replacement; each starts a window and an n-step return."""
        index, weight = self._draw(rows or self.algorithm.minibatch_size)
        minibatch = self.at(index)
        if weight is not None:
            minibatch.steps["priority_weight"] = weight / weight.max()
        return Minibatch(minibatch.window.to(self.device), minibatch.steps.to(self.device))

    def at(self, index: Tensor) -> Minibatch:
        """The windows [B, H+1] and n-step returns [B] that begin at the rows ``index`` [B] of the ring of steps.

        `rollout.window` describes the layout of a window. Windows and returns end with the episode of their first step and with the
        collected steps; beyond that a window repeats the last stack, and its mask is false.
        """
        horizon, n_step = self.horizon, self.algorithm.n_step
        env, step = index % self.num_envs, self._step(index)
        ahead = step[:, None] + torch.arange(max(horizon + 1, n_step))  # [B, L]
        rows = self.storage.get(self._row(ahead.clamp(max=self.steps - 1), env[:, None]))

        goes_on = ~rows["done"].squeeze(-1) & (ahead + 1 < self.steps)
        taken = torch.cat((torch.ones_like(goes_on[:, :1]), goes_on[:, :-1].cumprod(dim=1).bool()), dim=1)  # in the first step's episode
        reach = taken.sum(dim=1, keepdim=True)  # [B, 1]: number of steps ahead with a stack
        count = taken[:, :n_step].sum(dim=1, keepdim=True)  # [B, 1]: rewards in the return
        position = torch.arange(horizon + 1)
        stacks = self._stacks(env, rows[:, 0], torch.cat((position.minimum(reach), count), dim=1))  # [B, H+2, K, C, H, W]

        window = rows[:, : horizon + 1].select(ACTION, REWARD, TERMINATED)
        window[PIXELS] = stacks[:, :-1]
        window[MASK] = position <= reach

        discount = self.algorithm.gamma ** torch.arange(n_step)
        bonus = rows.get(BONUS, None)
        earned = rows[REWARD] if bonus is None else rows[REWARD] + bonus  # the window's is the task's alone
        reward = (earned.squeeze(-1) * taken)[:, :n_step] @ discount
        final = rows[torch.arange(len(index)), count.squeeze(-1) - 1]
        following = {PIXELS: stacks[:, -1], REWARD: reward[:, None], "terminated": final["terminated"], "done": final["done"]}
        steps = {ACTION: rows[ACTION][:, 0], "next": following, "steps_to_next_obs": count, "index": index}
        return Minibatch(window, TensorDict(steps, batch_size=index.shape))

    def observations(self, index: Tensor) -> Tensor:
        """The stacks [B, K, C, H, W] at the rows ``index`` [B] of the ring of steps."""
        return self._stacks(index % self.num_envs, self.storage.get(index), torch.zeros(1, 1, dtype=torch.int64)).squeeze(1)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that determines what comes next, except the frames: cursors, the ring of steps and the priorities."""
        state = {"steps": torch.tensor(self.steps), "updates": torch.tensor(self.updates)}
        state |= {"end": self.end.clone(), "first": self.first.clone(), "live": self.live.clone()}
        held = torch.arange(len(self.storage))
        if len(held):
            state |= {f"rows.{name}": tensor for name, tensor in self.storage.get(held).items()}
        if isinstance(self.sampler, Prioritized):
            state |= {"powers": self.sampler.powers.clone(), "default_priority": self.sampler.default_priority.clone()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore ``state`` into a new replay with the same arguments. The caller restores `frames` separately.

        Raises:
            KeyError, ValueError: ``state`` is not from a replay with the same arguments.
        """
        check_stored(self, state)
        self.steps, self.updates = int(state["steps"]), int(state["updates"])
        self.end, self.first, self.live = (state[name].clone() for name in ("end", "first", "live"))
        rows = {name.removeprefix("rows."): tensor for name, tensor in state.items() if name.startswith("rows.")}
        if rows:
            held = torch.arange(len(rows[ACTION]))
            self.storage.set(held, TensorDict(rows, batch_size=held.shape))
        if isinstance(self.sampler, Prioritized):
            self.sampler.powers, self.sampler.default_priority = state["powers"].clone(), state["default_priority"].clone()

    def _draw(self, size: int) -> tuple[Tensor, Tensor | None]:
        """Rows of the ring of steps and, with prioritised replay, their weights up to a common factor.

        A step that has lost frames of its stack is drawn again, which keeps the other steps' probabilities in proportion.
        """
        index, info = self.sampler.sample(self.storage, size)
        weight = info.get("priority_weight")
        while len(lost := self._lost(index).nonzero().squeeze(-1)):
            index[lost], info = self.sampler.sample(self.storage, len(lost))
            if weight is not None:
                weight[lost] = info["priority_weight"]
        return index, weight

    def _lost(self, index: Tensor) -> Tensor:
        """Whether the oldest frame of the stacks at rows ``index`` [B] was overwritten."""
        rows = self.storage.get(index)
        oldest = rows["position"] - rows["age"].clamp(max=self.frame_shape.frames - 1)
        return oldest < self.end[index % self.num_envs] - self.slots

    def _row(self, step: Tensor, env: Tensor) -> Tensor:
        return step % self.rows * self.num_envs + env

    def _step(self, index: Tensor) -> Tensor:
        """The number, within its env, of the step in each row of ``index``: the last step written there."""
        newest = self.steps - 1
        return newest - (newest - index // self.num_envs) % self.rows

    def _slot(self, position: Tensor, env: Tensor) -> Tensor:
        return position % self.slots * self.num_envs + env

    def write_frames(self, env: Tensor, position: Tensor, frames: Tensor) -> None:
        """Store ``frames`` [*, C, H, W] of ``env`` at ``position`` (both [*]), except those that the same batch overwrites."""
        stay = position >= self.end[env] - self.slots
        self.frames.index_copy_(0, self._slot(position[stay], env[stay]), frames[stay])

    def read_frames(self, env: Tensor, position: Tensor) -> Tensor:
        """The frames [*, C, H, W] of ``env`` at ``position`` (both [*]), which must be among the last S positions."""
        return self.frames.index_select(0, self._slot(position, env))

    def _stacks(self, env: Tensor, start: TensorDictBase, later: Tensor) -> Tensor:
        """The stacks [B, M, K, C, H, W] that are ``later`` [B, M] steps after the rows ``start`` [B], in the same episodes."""
        position, age = (start[name][:, None] + later for name in ("position", "age"))
        back = torch.arange(self.frame_shape.frames - 1, -1, -1).minimum(age[..., None])  # an episode's first frame is repeated
        slot = self._slot(position[..., None] - back, env[:, None, None])
        return self.frames.index_select(0, slot.flatten()).view(*slot.shape, *self.frame_shape[1:])  # several times faster than indexing


class Prioritized:
    """Samples rows in proportion to their TD errors: proportional prioritised replay.

    Row i is drawn with probability P(i) = p_i^α / Σ p^α, where p_i = |TD error| + ε. Before its first draw, the largest error so far is
    used. Its weight is (N · P(i))^−β, divided by the largest weight in the minibatch; it corrects the bias fully at β = 1.

    TorchRL's `PrioritizedSampler` does not draw from torch's generator, and needs a compiled extension that does not load with every
    torch. A running sum over 100,000 numbers takes a tenth of a millisecond, so no tree is needed.

    Source: Schaul et al. 2016, Prioritized Experience Replay, Eq. 1 and section 3.4 (the weights), algorithm 1 (the first priority).

    Args:
        capacity: Maximum rows.
        alpha: α, the exponent of the priorities.
        beta: β, the exponent of the weights.
    """

    def __init__(self, capacity: int, alpha: float, beta: float) -> None:
        self.alpha = alpha
        self.beta = beta
        self.powers = torch.zeros(capacity)  #: p^α
        self.default_priority = torch.tensor(1.0)  #: the largest |TD error| so far, at least 1

    def update_priority(self, index: Tensor, error: Tensor) -> None:
        """Set the priorities of the rows ``index`` from their |TD error|, both [M]."""
        self.default_priority = torch.maximum(self.default_priority, error.max())
        self.powers[index] = (error + PRIORITY_EPS) ** self.alpha

    def sample(self, storage: Storage, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample rows [size], and their weights before division by the largest."""
        powers = self.powers[: len(storage)]
        sums = powers.cumsum(dim=0, dtype=torch.float64)
        aim = torch.rand(size, dtype=torch.float64) * sums[-1]
        index = torch.searchsorted(sums, aim, right=True).clamp(max=len(storage) - 1)  # rounding may reach the end
        return index, {"priority_weight": (len(storage) * powers[index] / sums[-1]).float() ** -self.beta}
