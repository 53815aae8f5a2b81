"""What a collector gets of a run: the policy, the weights that it acts with, and how workers make both for themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from jepakit.machine.generators import generators, set_generators
from jepakit.protocols import POLICY_VERSION, Actor, Weights
from jepakit.recipe import Recipe
from jepakit.training.collecting.worker import MakeActor, acting_modules, tensors
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy


class RunActing:
    """The `jepakit.protocols.Acting` of a run.

    Args:
        recipe: The run's recipe, with hardware resolved.
        env: The recipe's env.
        learner: The recipe's learner.
        env_steps: Returns how many env steps the run has collected.
        progress: Returns where the last round of updates set all schedules; None before the first.
    """

    def __init__(
        self,
        recipe: Recipe,
        env: EnvBase,
        learner: Learner,
        env_steps: Callable[[], int],
        progress: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.recipe, self.env, self.learner, self.env_steps, self.progress = recipe, env, learner, env_steps, progress
        self.policy = Policy(learner)
        self.device = learner.hardware.device
        self.steps = learner.algorithm.rollout_steps
        self.seed = recipe.seed  #: of the env's simulators
        self.handed_out: list[tuple[int, int]] = []  #: for each `Weights.version`: the updates and the env steps until then

    def actor(
        self, worker: int, workers: int, snapshot: dict[str, Any] | None = None, generators: dict[str, Any] | None = None
    ) -> Callable[[], Actor]:
        """What makes a worker's `WorkerActor`."""
        return MakeActor(self.recipe, self.seed, worker, workers, snapshot, generators)

    def weights(self) -> Weights:
        """Every parameter and buffer of the encoder and the algorithm."""
        self.handed_out.append((self.learner.updates, self.env_steps()))
        content = torch.cat(
            [tensor.detach().cpu().contiguous().flatten().view(torch.uint8) for tensor in tensors(acting_modules(self.learner))]
        )
        progress = self.progress()
        return Weights(len(self.handed_out) - 1, content.numpy(), math.nan if progress is None else progress)

    def lag(self, batch: TensorDictBase) -> dict[str, float]:
        """How much older than the learner's the weights were that chose the actions of ``batch``, in updates and env steps.

        Removes ``policy_version`` from ``batch``; without it, returns nothing.
        """
        if POLICY_VERSION not in batch:
            return {}
        handed_out = torch.tensor(self.handed_out)[batch.pop(POLICY_VERSION)]  # [N, T, 2]
        lag = torch.tensor([self.learner.updates, self.env_steps()]) - handed_out
        means, most = lag.flatten(0, -2).double().mean(dim=0).tolist(), lag.flatten(0, -2).amax(dim=0).tolist()
        found: dict[str, float] = {}
        for name, mean, largest in zip(("updates", "env_steps"), means, most, strict=True):
            found |= {f"collector/lag_{name}": mean, f"collector/lag_{name}_max": largest}
        return found

    def generators(self) -> dict[str, Any]:
        """Of Python, NumPy and torch."""
        return generators()

    def set_generators(self, state: dict[str, Any]) -> None:
        """Of Python, NumPy and torch."""
        set_generators(state)
