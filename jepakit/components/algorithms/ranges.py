"""Ranges that all algorithms share: of their fields' values, and of continuous actions."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torchrl.data import Bounded

Share = Annotated[float, Field(ge=0, le=1)]  #: a discount, a probability, a mixing weight
Rows = Annotated[int, Field(ge=2)]  #: of a minibatch: one row has no variance


class Scaling(nn.Module):
    """[-1, 1] to an action's bounds and back: what learns knows no units."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: Bounded) -> None:
        super().__init__()
        self.register_buffer("low", spec.space.low.clone(), persistent=False)
        self.register_buffer("high", spec.space.high.clone(), persistent=False)

    def forward(self, action: Tensor) -> Tensor:
        """From [-1, 1] to within the bounds, rounding included."""
        return torch.lerp(self.low, self.high, (1 + action) / 2)

    def inverse(self, action: Tensor) -> Tensor:
        """From within the bounds to [-1, 1]."""
        return 2 * (action - self.low) / (self.high - self.low) - 1
