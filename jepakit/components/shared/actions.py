"""Actions as vectors of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


def span_of(low: Tensor, high: Tensor) -> Tensor:
    """``high`` - ``low``, to divide by; 1 in a dimension whose bounds are equal."""
    return torch.where(high > low, high - low, 1)


class ActionNumbers(nn.Module):
    """Discrete actions as one-hots, continuous ones scaled from their bounds to [-1, 1]: a loss on them has the same scale in every env.

    A dimension whose bounds are equal is 0.
    """

    middle: Tensor
    half_range: Tensor

    def __init__(self, action_spec: TensorSpec) -> None:
        super().__init__()
        self.num_actions = getattr(action_spec.space, "n", None)  # None: continuous
        self.width: int = self.num_actions or action_spec.shape[-1]
        if not self.num_actions:
            low, high = (bound.to(torch.get_default_device()) for bound in (action_spec.space.low, action_spec.space.high))
            self.register_buffer("middle", (high + low) / 2, persistent=False)
            self.register_buffer("half_range", span_of(low, high) / 2, persistent=False)

    def forward(self, action: Tensor) -> Tensor:
        """``action`` [B] (int64) or [B, A] (float) -> float [B, ``width``]."""
        if self.num_actions:
            return F.one_hot(action, self.num_actions).float()
        return (action - self.middle) / self.half_range
