"""Ranges shared by all algorithms: of their fields, of a schedule, and of continuous actions."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torchrl.data import Bounded

from jepakit.components.shared.actions import span_of

Share = Annotated[float, Field(ge=0, le=1)]  #: a discount, a probability, a mixing weight
Rows = Annotated[int, Field(ge=2)]  #: of a minibatch; a single row has no variance


def linear(start: float, end: float, progress: float) -> float:
    """A schedule's value: ``start`` at progress 0, ``end`` at progress 1."""
    return start + (end - start) * progress


class Scaling(nn.Module):
    """Maps [-1, 1] to an action's bounds and back, so that the networks are free of units."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: Bounded) -> None:
        super().__init__()
        self.register_buffer("low", spec.space.low.clone(), persistent=False)
        self.register_buffer("high", spec.space.high.clone(), persistent=False)

    def forward(self, action: Tensor) -> Tensor:
        """[-1, 1] -> the bounds, never outside them by rounding."""
        return torch.lerp(self.low, self.high, (1 + action) / 2)

    def inverse(self, action: Tensor) -> Tensor:
        """The bounds -> [-1, 1]; -1 in a dimension whose bounds are equal."""
        return 2 * (action - self.low) / span_of(self.low, self.high) - 1
