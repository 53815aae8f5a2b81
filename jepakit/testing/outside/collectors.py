"""The rules for collectors."""

from __future__ import annotations

import contextlib
import itertools

import torch
from tensordict import TensorDictBase
from torch import nn

from jepakit.machine.hardware import Hardware
from jepakit.protocols import ACTION, PIXELS, POLICY_VERSION, REWARD, Collector
from jepakit.recipe import Recipe, load_recipe
from jepakit.testing.modules import Make
from jepakit.testing.rules import Rules, expect, expect_same, expect_tensor
from jepakit.testing.settings import Setting
from jepakit.training.build import build_env, build_learner
from jepakit.training.collecting.acting import RunActing

ENVS, STEPS = 2, 7  #: N and T of the batches that a collector is asked for
ENDS = ("done", "terminated", "truncated")


def small_recipe(collector: dict[str, object]) -> Recipe:
    """A recipe whose parts take no time: pixel Cart Pole, a tiny transformer, PPO."""
    env = {"kind": "gym", "id": "CartPole-v1", "num_envs": ENVS, "size": [16, 24]}
    encoder = {"kind": "vit", "dim": 8, "depth": 1, "heads": 2, "patch": 8}
    algorithm = {"kind": "ppo", "rollout_steps": STEPS, "minibatch_size": 7}
    hardware = {"device": "cpu", "precision": "fp32", "threads": 1}
    return load_recipe({"env": env, "encoder": encoder, "algorithm": algorithm, "collector": collector, **hardware})


def check_collector(rules: Rules, make: Make, setting: Setting) -> None:
    """A collector hands in batches [N, T] that continue each other, from the learner's weights, and ends what it has started."""
    with rules.rule("protocol", "give it workers, lags, restores, and the methods of `jepakit.protocols.Collector`"):
        collector = make(0)
        expect(isinstance(collector, Collector), "an attribute or a method of `jepakit.protocols.Collector` is missing")
        expect(ENVS % collector.workers == 0, f"to check it, write a number of workers that divides {ENVS}")
    if rules.broken:
        return
    recipe = small_recipe({"kind": "direct"})
    with contextlib.closing(build_env(recipe)) as env:
        learner = build_learner(recipe, env, Hardware("cpu", "fp32", 1))
        acting = RunActing(recipe, env, learner, lambda: 0)
        batches: list[TensorDictBase] = []
        try:
            with rules.rule("output", "return Collected(batch [N, T], {'env': seconds, 'policy': seconds})"):
                collector.begin(acting)
                for _ in range(3):
                    batch, seconds = collector.collect()
                    expect({"env", "policy"} <= set(seconds), f"its seconds are of {', '.join(seconds) or 'nothing'}")
                    _check_batch(batch, acting)
                    batches.append(batch.clone())
                    _jolt(learner.encoder)
        finally:
            with rules.rule("close", "close() must work, and so must a second close()"):
                collector.close()
                collector.close()
    if rules.broken:
        return
    with rules.rule("continuation", "go on where the batch before has ended; the env resets by itself"):
        for before, after in itertools.pairwise(batches):
            running = ~before["next", "done"][:, -1, 0]
            expect_same("the last `next` and the first stacks of a batch", before["next", PIXELS][running, -1], after[PIXELS][running, 0])
    with rules.rule("weights", "act with `acting.policy`, or give the workers `acting.weights()` before each batch"):
        changed = not torch.equal(batches[0]["state_value"], batches[2]["state_value"])
        expect(changed, "values stay as they are when the encoder changes")


def _check_batch(batch: TensorDictBase, acting: RunActing) -> None:
    shape = acting.env.frame_shape
    for name, part in (("", batch), ("next ", batch["next"])):
        expect_tensor(f"`{name}pixels`", part[PIXELS], (ENVS, STEPS, *shape), torch.uint8)
    expect_tensor("`next reward`", batch["next", REWARD], (ENVS, STEPS, 1), torch.float32)
    for key in ENDS:
        expect_tensor(f"`next {key}`", batch["next", key], (ENVS, STEPS, 1), torch.bool)
    expect_tensor("`action`", batch[ACTION], (ENVS, STEPS), torch.int64)
    lacking = [key for key in acting.policy.out_keys if key not in batch]
    expect(not lacking, f"it lacks `{', '.join(map(str, lacking))}`, which the policy writes")
    if POLICY_VERSION in batch:
        expect_tensor("`policy_version`", batch[POLICY_VERSION], (ENVS, STEPS), torch.int64)


@torch.no_grad()
def _jolt(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
