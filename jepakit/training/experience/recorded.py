"""Recorded data as experience: each round of updates draws steps of it, in place of a collector's."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import TensorSpec

from jepakit.components.shared.recordings import check_fit, check_recording
from jepakit.protocols import ACTION, PIXELS, REWARD, FrameShape, Minibatch, OffPolicyAlgorithm, OnPolicyAlgorithm, Recording, Source
from jepakit.recipe.schema import Replay as Settings
from jepakit.training.experience.replay import Replay
from jepakit.training.experience.rollout import shuffled


class Recorded:
    """Draws batches of steps from a recording, and cuts their windows from it: as far as the horizon reaches and the episode goes on.

    A batch is N · T steps, drawn uniformly with replacement. Everything random comes from torch's global generator.

    Args:
        source: Where the data comes from; it is loaded here.
        algorithm: Sets T, epochs and minibatches.
        horizon: H, steps that a window reaches ahead.
        frames: The shape of one observation's ``pixels``.
        action_spec: Of one env's actions.
        num_envs: N.
        device: Device of the minibatches.

    Raises:
        ValueError: The data cannot be read, or is no `Recording` of such frames and actions.
    """

    def __init__(
        self,
        source: Source,
        algorithm: OnPolicyAlgorithm,
        horizon: int,
        frames: FrameShape,
        action_spec: TensorSpec,
        num_envs: int,
        device: str = "cpu",
    ) -> None:
        recording = source.load()
        check_recording(recording)
        check_fit(recording, frames, action_spec)
        self.algorithm = algorithm
        self.num_envs = num_envs
        self.device = device
        self.replay = _as_replay(recording, horizon, frames, device)  #: the recording as the ring of one env, which never moves on
        self.index = torch.zeros(0, dtype=torch.int64)  #: the steps of the batch

    def batches(self) -> Iterator[TensorDictBase]:
        """Batches [N, T] without end: ``pixels``, and ``index``, the numbers of the steps."""
        shape = (self.num_envs, self.algorithm.rollout_steps)
        while True:
            index = torch.randint(self.replay.steps, shape)
            pixels = self.replay.observations(index.flatten()).unflatten(0, shape)
            yield TensorDict({PIXELS: pixels, "index": index}, batch_size=shape)

    def extend(self, batch: TensorDictBase) -> None:
        """Learn from the steps of ``batch`` next."""
        self.index = batch["index"].flatten()

    def minibatches(self) -> Iterator[Minibatch]:
        """Yield minibatches; in each epoch every step of the batch starts one window."""
        for starts in shuffled(len(self.index), self.algorithm):
            yield self._at(self.index[starts])

    def sample(self, rows: int | None = None) -> Minibatch:
        """A random minibatch of all recorded steps."""
        return self._at(torch.randint(self.replay.steps, (rows or self.algorithm.minibatch_size or len(self.index),)))

    def _at(self, index: Tensor) -> Minibatch:
        window, steps = self.replay.at(index)
        return Minibatch(window.to(self.device), steps.to(self.device))

    def learned(self, minibatch: Minibatch) -> None:
        """Do nothing: all steps have the same weight."""

    def state_dict(self) -> dict[str, Tensor]:
        """Empty: each round draws its own batch."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing: there is no state."""


def _as_replay(recording: Recording, horizon: int, frames: FrameShape, device: str) -> Replay:
    steps, one = len(recording.done), cast(OffPolicyAlgorithm, SimpleNamespace(n_step=1, gamma=1.0))
    replay = Replay(one, horizon, frames, 1, Settings(capacity=steps), device)
    columns = {REWARD: recording.reward, "done": recording.done, "terminated": recording.terminated}
    rows: dict[str, Any] = {ACTION: recording.action, "position": recording.position, "age": recording.age}
    rows |= {name: column[:, None] for name, column in columns.items()}
    replay.storage.set(torch.arange(steps), TensorDict(rows, batch_size=[steps]))
    replay.frames, replay.slots, replay.steps = recording.frames, len(recording.frames), steps
    replay.end = torch.tensor([len(recording.frames)])
    return replay
