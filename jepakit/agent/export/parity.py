"""Compares what was exported with the run's own policy, on frames of its env."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.agent.intent import action_values
from jepakit.agent.trained import Trained
from jepakit.errors import UserError
from jepakit.machine.generators import seed_everything
from jepakit.protocols import ACTION, PIXELS, S_X
from jepakit.training.learner import Learner
from jepakit.training.policy import Policy

TOLERANCE = 1e-4  #: largest difference, as a share of an output's largest entry, or absolute if that is below 1
STACKS = 256  #: compared, at least
SCORES = ("logits", "action_value")  #: of discrete actions, the best of which is taken

Outputs = dict[str, NDArray[Any]]


class Frames(NamedTuple):
    """Stacks from the env, and what the run's own greedy policy, or its encoder, makes of them in fp32."""

    pixels: list[Tensor]  #: batches [N, K, C, H, W]
    expected: Outputs  #: of all stacks
    unlike: int | None  #: discrete actions that are others in the run's own precision; None: that is fp32, or actions are continuous
    own: str = "policy"  #: what of the run was asked
    seen: str = "observations of its env"

    @property
    def stacks(self) -> int:
        """How many stacks there are."""
        return len(self.expected[S_X])

    def told(self) -> str:
        """What exported files are compared with."""
        return f"the run's own {self.own} on {self.stacks} {self.seen}"


class Check(NamedTuple):
    """How far an exported file is from the run's policy."""

    file: str
    stacks: int
    differences: dict[str, tuple[float, float]]  #: of each output: the largest absolute difference, and what is allowed
    equal_actions: int | None  #: of all stacks; None: there are no discrete actions


@torch.no_grad()
def play(trained: Trained, seed: int, first_action: int) -> Frames:
    """Play the run's greedy policy in its env, and keep what it sees and does."""
    _, env, learner, _ = trained
    learner.parts.eval()
    policy = Policy(learner, everything=True)
    env.set_seed(seed)
    seed_everything(seed)
    now: Any = env.reset()
    pixels: list[Tensor] = []
    outputs: list[Outputs] = []
    unlike = 0
    with set_exploration_type(ExplorationType.MODE):
        while sum(map(len, pixels)) < STACKS:
            with _fp32(learner):
                acted = policy(now.clone())
                named = dict(acted.select(*policy.out_keys).items()) | {S_X: learner.embed(now[PIXELS])}
            if (q := action_values(acted, policy.head)) is not None:
                named["action_value"] = q
            if not named[ACTION].is_floating_point():
                named[ACTION] = named[ACTION] + first_action
            pixels.append(now[PIXELS])
            outputs.append({name: value.cpu().numpy() for name, value in named.items()})
            own = policy(now)
            unlike += int((own[ACTION] != acted[ACTION]).sum())
            _, now = env.step_and_maybe_reset(own)
    expected = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    if "state_value" in expected:
        expected["state_value"] = expected["state_value"].squeeze(-1)
    discrete = not np.issubdtype(expected[ACTION].dtype, np.floating)
    return Frames(pixels, expected, unlike if discrete and learner.hardware.precision != "fp32" else None)


@torch.no_grad()
def look(trained: Trained, seed: int) -> Frames:
    """What the encoder of a run without a policy makes of its env at random play, or of noise if there is no simulator."""
    _, env, learner, _ = trained
    learner.parts.eval()
    seed_everything(seed)
    simulated = trained.recipe.simulated
    pixels = list(_at_random(trained, seed)) if simulated else [torch.randint(0, 256, (STACKS, *env.frame_shape), dtype=torch.uint8)]
    with _fp32(learner):
        expected = {S_X: np.concatenate([learner.embed(batch.to(learner.hardware.device)).cpu().numpy() for batch in pixels])}
    return Frames(pixels, expected, None, "encoder", "observations of its env" if simulated else "stacks of noise")


def _at_random(trained: Trained, seed: int) -> Iterator[Tensor]:
    _, env, learner, _ = trained
    policy, seen = Policy(learner), 0
    env.set_seed(seed)
    now: Any = env.reset()
    with set_exploration_type(ExplorationType.RANDOM):
        while seen < STACKS:
            yield now[PIXELS]
            seen += len(now[PIXELS])
            _, now = env.step_and_maybe_reset(policy(now))


def compare(file: Path, exported: Callable[[Tensor], Mapping[str, NDArray[Any]]], frames: Frames) -> Check:
    """Hold the outputs of ``exported`` against the run's own.

    Raises:
        UserError: They differ by more than `TOLERANCE`, or a discrete action differs though the best is better than the second by more.
    """
    batches = [exported(batch) for batch in frames.pixels]
    found = {name: np.concatenate([each[name] for each in batches]) for name in batches[0]}
    discrete = ACTION in found and not np.issubdtype(found[ACTION].dtype, np.floating)
    differences = {}
    for name, ours in found.items():
        if not (discrete and name == ACTION):
            theirs = frames.expected[name].astype(np.float64)
            differences[name] = float(np.abs(ours - theirs).max()), TOLERANCE * max(1.0, float(np.abs(theirs).max()))
    wrong = [f"{name} by {most:.3g} (allowed: {allowed:.3g})" for name, (most, allowed) in differences.items() if not most <= allowed]
    equal = None
    if discrete:
        alike = found[ACTION] == frames.expected[ACTION]
        scores = next((name for name in SCORES if name in found), None)
        clear = np.ones_like(alike)  #: without scores a head chooses its actions itself
        if scores and found[scores].shape[-1] > 1:
            second, best = np.sort(frames.expected[scores], axis=-1)[:, -2:].T
            clear = best - second > 2 * differences[scores][1]
        if odd := int((~alike & clear).sum()):
            wrong.append(f"{odd} actions")
        equal = int(alike.sum())
    if wrong:
        raise UserError(f"{file.name} is not the run's {frames.own}: on {frames.stacks} {frames.seen} differ {', '.join(wrong)}")
    return Check(file.name, frames.stacks, differences, equal)


@contextmanager
def _fp32(learner: Learner) -> Iterator[None]:
    own = learner.hardware
    learner.hardware = own._replace(precision="fp32")
    try:
        yield
    finally:
        learner.hardware = own
