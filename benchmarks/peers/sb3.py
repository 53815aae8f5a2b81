"""Stable-Baselines3's PPO and DQN with its `CnnPolicy`, on a `DummyVecEnv`, which is its default.

    python -m benchmarks.peers.sb3_ppo --height 84 --width 84 --threads 1

Network, optimizer and losses are SB3's own; envs, steps, epochs and minibatch are the contest's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.peers.frames import Frames
from benchmarks.peers.settings import Clock, Settings

FOREVER = 10_000_000  #: env steps; the clock ends it before


class Timed(BaseCallback):
    """Marks each batch that learned: a new rollout begins after the updates on the last one."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.is_over = clock, False

    def _on_rollout_start(self) -> None:
        if self.model._n_updates:
            self.is_over = self.clock.batch_is_done()

    def _on_step(self) -> bool:
        return not self.is_over


def ppo(settings: Settings) -> dict[str, Any]:
    """PPO, with all that the settings leave open as SB3 has it."""
    env = make_env(settings)
    return timed(
        PPO("CnnPolicy", env, n_steps=settings.steps, n_epochs=settings.epochs, batch_size=settings.minibatch, device="cpu"), settings
    )


def dqn(settings: Settings) -> dict[str, Any]:
    """DQN: its replay stores both stacks of a step."""
    env = make_env(settings)
    agent = DQN(
        "CnnPolicy",
        env,
        train_freq=settings.steps,
        gradient_steps=settings.updates,
        batch_size=settings.minibatch,
        learning_starts=settings.learning_starts,
        buffer_size=20_000,
        device="cpu",
    )
    return timed(agent, settings)


def make_env(settings: Settings) -> DummyVecEnv:
    """The simulators, stepped one after another."""
    torch.set_num_threads(settings.threads)
    return DummyVecEnv([partial(Frames, settings.height, settings.width, settings.drawing)] * settings.envs)


def timed(agent: BaseAlgorithm, settings: Settings) -> dict[str, Any]:
    """Train until the clock has seen enough."""
    simulators: Any = agent.get_env()
    clock = Clock(settings, lambda: sum(simulators.get_attr("seconds")))
    agent.learn(FOREVER, callback=Timed(clock))
    return clock.figures()
