"""A target that copies the online encoder every so many updates, as in DQN."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import nn

from jepakit.components.shared.counted import Counted
from jepakit.components.shared.following import tensors
from jepakit.components.targets.encoders import CopiedEncoder
from jepakit.registry import register


@register("target", "periodic")
class Periodic(CopiedEncoder, Counted):
    """θ̄ <- θ after every ``every``-th optimizer step, unchanged in between; starts as an exact copy; no gradient.

    Source: Mnih et al. 2015, Human-level control through deep reinforcement learning, Methods (Algorithm 1: every C steps reset Q̂ = Q).

    Args:
        every: Updates between two copies. DQN's 10,000 suits runs of millions of updates; PPO on 100k env steps makes some thousands. At
            200 the copy is on average as old as that of ``ema`` with decay 0.99: 99 updates.
    """

    def __init__(self, encoder: nn.Module, *, every: PositiveInt = 200) -> None:
        super().__init__(encoder)
        self.every = every

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Copy θ if it is due; call it after each optimizer step."""
        self.updates += 1
        if self.updates % self.every == 0:
            for copied, online in zip(tensors(self.encoder), tensors(encoder), strict=True):
                copied.copy_(online)
