"""Small runs of every algorithm, and a script's way to play raw Gymnasium envs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import jepakit
from jepakit.agent.frames import FrameStack

SMALL = {"total_steps": 120, "env.num_envs": 2, "threads": 1}
ON = SMALL | {"algorithm.rollout_steps": 30, "algorithm.minibatch_size": 30}
OFF = SMALL | {"algorithm.learning_starts": 50}
SAC = SMALL | {"algorithm": {"kind": "sac", "learning_starts": 50}}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("cartpole_pixels", ON),
    "a2c": ("cartpole_pixels", {**SMALL, "algorithm": {"kind": "a2c"}}),
    "reinforce": ("cartpole_pixels", {**SMALL, "algorithm": {"kind": "reinforce"}}),
    "dqn": ("cartpole_dqn", OFF),
    "c51": ("cartpole_dqn", OFF | {"algorithm.distributional": True, "algorithm.dueling": True, "algorithm.noisy_std": 0.5}),
    "sac": ("cartpole_sac", OFF),
    "ppo_continuous": ("pendulum_pixels", ON),
    "sac_continuous": ("pendulum_pixels", SAC),
}
Trained = Callable[[str], Path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    made: dict[str, Path] = {}

    def train(name: str) -> Path:
        if name not in made:
            recipe, overrides = RUNS[name]
            made[name] = jepakit.run(recipe, overrides=overrides, out=tmp_path_factory.mktemp(name), quiet=True).path
        return made[name]

    return train


def raw_episodes(id: str, policy: Any, seed: int, shares: list[int], limit: int | None = None) -> dict[str, list[float]]:
    """The returns and lengths of episodes of raw Gymnasium envs side by side, played as a script would play them."""
    envs = [gymnasium.make(id, render_mode="rgb_array", max_episode_steps=limit) for _ in shares]
    stacks: list[FrameStack] = [policy.frames() for _ in envs]
    pixels = []
    for env, stack, start in zip(envs, stacks, np.random.SeedSequence(seed).generate_state(len(envs)), strict=True):
        env.reset(seed=int(start))
        pixels.append(stack.reset(env.render()))
    ended: list[list[tuple[float, int]]] = [[] for _ in envs]
    so_far = [(0.0, 0)] * len(envs)
    while any(len(mine) < share for mine, share in zip(ended, shares, strict=True)):
        for n, action in enumerate(policy(np.stack(pixels))):
            _, reward, terminated, truncated, _ = envs[n].step(action)
            so_far[n] = so_far[n][0] + float(reward), so_far[n][1] + 1
            if terminated or truncated:
                ended[n].append(so_far[n])
                so_far[n] = 0.0, 0
                envs[n].reset()
                pixels[n] = stacks[n].reset(envs[n].render())
            else:
                pixels[n] = stacks[n].add(envs[n].render())
    played = [episode for mine, share in zip(ended, shares, strict=True) for episode in mine[:share]]
    return {"returns": [each for each, _ in played], "lengths": [each for _, each in played]}
