"""A trained policy for scripts: pixels in, actions out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDict
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.frames import FrameStack
from jepakit.agent.trained import Trained, opened
from jepakit.components.envs.batched import within
from jepakit.errors import UserError
from jepakit.protocols import ACTION, PIXELS
from jepakit.training.policy import Policy


class TrainedPolicy:
    """Maps stacks of frames to actions in the env's own range, as Gymnasium's ``env.step`` takes them.

    Random numbers come from a stream of its own: the global generators keep their state.

    Args:
        trained: The run's parts, with their weights.
        sample: Whether to sample actions by default, instead of taking the best.
        seed: Seed of the samples.
    """

    def __init__(self, trained: Trained, *, sample: bool = False, seed: int = 0) -> None:
        recipe, env, learner, self.env_steps = trained
        self.recipe = recipe
        self.frame_shape = env.frame_shape  #: K, C, H, W of a stack
        self.action_space: spaces.Space[Any] | None = getattr(env, "action_space", None)  #: Gymnasium's
        self.sample = sample
        self._dtype: torch.dtype = env.observation_spec[PIXELS].dtype
        self._device = torch.device(learner.hardware.device)
        self._accelerators = [self._device] if self._device.type == "cuda" else []  #: whose generators sampling uses, beside the CPU's
        learner.parts.eval()
        self._policy = Policy(learner)
        self.seed(seed)

    def __call__(self, pixels: Any, *, sample: bool | None = None) -> Any:
        """The actions for ``pixels``: one stack [K, C, H, W] or a batch [N, K, C, H, W], uint8, of NumPy or torch.

        Args:
            pixels: The last K frames, the newest last, as the run's env shows them. `frames` makes them of an env's images.
            sample: Whether to sample; None as `load_policy` was told.

        Returns:
            What `env.step` takes, without the first dimension for one stack: int64 [N] of discrete actions, float [N, A] of continuous
            ones, within their bounds; NumPy for NumPy, torch for torch.

        Raises:
            UserError: The pixels have another shape or type than the run's.
        """
        stacks = self._checked(pixels)
        one = stacks.ndim == 4
        explore = ExplorationType.RANDOM if (self.sample if sample is None else sample) else ExplorationType.MODE
        stacks = (stacks[None] if one else stacks).to(self._device)
        with torch.no_grad(), self._own_stream(), set_exploration_type(explore):
            action: Tensor = self._policy(TensorDict({PIXELS: stacks}, batch_size=stacks.shape[:1]))[ACTION]
        if isinstance(self.action_space, spaces.Discrete):
            action = action + int(self.action_space.start)
        action = action[0] if one else action
        if isinstance(pixels, Tensor):
            return action.to(pixels.device)
        played = action.cpu().numpy()
        return (within(self.action_space, played) if isinstance(self.action_space, spaces.Box) else played)[()]

    def seed(self, seed: int) -> None:
        """Begin the stream of samples anew."""
        devices = [torch.device("cpu"), *self._accelerators]
        self._states = [torch.Generator(device).manual_seed(seed).get_state() for device in devices]

    def frames(self) -> FrameStack:
        """A new `FrameStack`: makes one raw Gymnasium env's images into what this policy takes.

        Raises:
            UserError: The policy takes state vectors.
        """
        if self._dtype != torch.uint8:
            raise UserError("this policy takes state vectors, float32 [K, 1, 1, S], and no frames")
        return FrameStack(self.frame_shape)

    def _checked(self, pixels: Any) -> Tensor:
        stacks = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.array(pixels))
        if self._dtype == torch.float32 and stacks.is_floating_point():
            stacks = stacks.float()
        if stacks.dtype != self._dtype or stacks.ndim not in (4, 5) or stacks.shape[-4:] != self.frame_shape:
            shape, kind = list(self.frame_shape), str(self._dtype).removeprefix("torch.")
            found = f"{str(stacks.dtype).removeprefix('torch.')} {list(stacks.shape)}"
            raise UserError(f"pixels must be {kind} {shape} (K, C, H, W), or a batch of such stacks [N, …]; these are {found}")
        return stacks

    @contextmanager
    def _own_stream(self) -> Iterator[None]:
        with torch.random.fork_rng(self._accelerators):
            torch.set_rng_state(self._states[0])
            for device, state in zip(self._accelerators, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._accelerators)]


def load_policy(run: str | Path, *, sample: bool = False, seed: int = 0, best: bool = False, trust: bool = False) -> TrainedPolicy:
    """The trained policy of the run in folder ``run``: ``action = policy(pixels)``.

    It is on the run's device and in its precision, so a batch gets the very actions of `jepakit eval`. The global random number generators
    keep their state.

    Args:
        run: A run's folder.
        sample: Whether to sample actions by default, instead of taking the best.
        seed: Seed of the samples.
        best: Use the best checkpoint (`best_checkpoint`), not the newest.
        trust: Whether to run the plug-ins that the run's recipe names.

    Raises:
        UserError: The folder holds no run with an intact checkpoint, or its recipe names code and ``trust`` is False.
    """
    with opened(Path(run), best=best, trust=trust, warn=warnings.warn) as trained:
        return TrainedPolicy(trained, sample=sample, seed=seed)
