"""Shared by auxiliary terms: a small MLP, and actions as vectors of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchrl.modules import MLP

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


def head(width: int, hidden: int, out: int) -> MLP:
    """[*, width] -> [*, out], with one hidden layer and ReLU."""
    return MLP(in_features=width, out_features=out, num_cells=[hidden], activation_class=nn.ReLU)


class ActionNumbers(nn.Module):
    """Discrete actions as one-hots, continuous ones scaled from their bounds to [-1, 1]: a loss on them has the same scale in every env."""

    middle: Tensor
    half_range: Tensor

    def __init__(self, action_spec: TensorSpec) -> None:
        super().__init__()
        self.num_actions = getattr(action_spec.space, "n", None)  # None: continuous
        self.width: int = self.num_actions or action_spec.shape[-1]
        if not self.num_actions:
            low, high = (bound.to(torch.get_default_device()) for bound in (action_spec.space.low, action_spec.space.high))
            self.register_buffer("middle", (high + low) / 2, persistent=False)
            self.register_buffer("half_range", (high - low) / 2, persistent=False)

    def forward(self, action: Tensor) -> Tensor:
        """``action`` [B] (int64) or [B, A] (float) -> float [B, ``width``]."""
        if self.num_actions:
            return F.one_hot(action, self.num_actions).float()
        return (action - self.middle) / self.half_range
