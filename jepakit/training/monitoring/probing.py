"""Probes a learner: plays episodes, and asks what of the simulator's true state its embedding tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.diagnostics.probes.episodes import Embed, Reader, play
from jepakit.diagnostics.probes.knowledge import Predict, knowledge
from jepakit.machine.generators import seed_everything
from jepakit.training.learner import Learner
from jepakit.training.monitoring.quiet import quietly
from jepakit.training.policy import Policy
from jepakit.training.terms import JEPA, unroll

Acting = Literal["sampled", "random"]


def probed(
    learner: Learner,
    env: EnvBase,
    episodes: int,
    seed: int,
    read: Reader | None = None,
    on_episode: Callable[[], object] = lambda: None,
    policy: Acting = "sampled",
) -> dict[str, Any]:
    """Play ``episodes`` episodes in ``env``, and fit and judge probes on them.

    s_x is encoded in fp32. The learner and the global random number generators are afterwards as before.

    Args:
        learner: Whose embedding is probed.
        env: Where it acts.
        episodes: How many.
        seed: Seed of episodes, actions, split and MLP.
        read: Reads a simulator's state; None: as the env knows it.
        on_episode: Called after each episode.
        policy: Who acts: the learner's policy, sampled, or one that draws every action evenly, under which all runs see the same episodes.

    Returns:
        What `knowledge` returns, and in its ``ahead`` as ``space`` what the predictor's output is read as: ``s_x``, or ``projection``.

    Raises:
        UserError: The env tells no true state.
    """
    with quietly(learner.parts), set_exploration_type(ExplorationType.RANDOM):
        env.set_seed(seed)
        seed_everything(seed)
        act = Policy(learner) if policy == "sampled" else env.rand_action
        seen = play(env, act, _embedding(learner), episodes, read, on_episode)
        jepa = learner.jepa if learner.jepa and learner.jepa.y != "same" else None  # `same` predicts no step ahead
        found = knowledge(seen, seed, _predicting(jepa, learner.hardware.device) if jepa else None)
    if found["ahead"]:
        found["ahead"]["space"] = "projection" if jepa and jepa.projector else "s_x"
    return found


def _embedding(learner: Learner) -> Embed:
    """s_x, and z: the online embedding in the space in which the predictor's output is compared with the target's.

    Without a projector z is s_x. If s_y encodes the newest frame alone, z does so, too.
    """
    jepa, device = learner.jepa, learner.hardware.device

    def embed(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        pixels = pixels.to(device)
        s_x = learner.encoder(pixels).float().cpu()
        if jepa is None or (jepa.followed is learner.encoder and jepa.y != "newest"):
            return s_x, None
        return s_x, jepa.followed(jepa.seen(pixels[:, None])[:, 0]).float().cpu()

    return embed


def _predicting(jepa: JEPA, device: str) -> Predict:
    @torch.no_grad()
    def predict(s_x: Tensor, actions: Tensor) -> Tensor:
        if not len(s_x):
            return s_x.new_zeros(0, 1)
        return jepa.projected(unroll(jepa.predictor, s_x.to(device), actions.to(device))[:, -1]).float().cpu()

    return predict
