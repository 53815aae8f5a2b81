"""Recipes that take seconds, for tests of what stands around training."""

from __future__ import annotations

from typing import Any


def small_recipe(name: str) -> str:
    """Its text, with a name."""
    return f"""\
name: {name}
total_steps: 64
env: {{kind: gym, id: CartPole-v1, num_envs: 2, size: [20, 30]}}
encoder: {{kind: vit, dim: 16, depth: 1, heads: 2, patch: 10}}
algorithm: {{kind: ppo, rollout_steps: 16, minibatch_size: 16, epochs: 1}}
device: cpu
precision: fp32
threads: 1
"""


def small_pretraining(source: dict[str, Any], **env: Any) -> dict[str, Any]:
    """One that pretrains on recorded data: four updates, without an env."""
    return {
        "env": {"kind": "none", "num_envs": 2, "frames": 2, **env},
        "source": source,
        "encoder": {"kind": "impala", "dim": 8},
        "algorithm": {"kind": "none", "rollout_steps": 8, "minibatch_size": 8},
        "total_steps": 32,
        "threads": 1,
        "device": "cpu",
    }
