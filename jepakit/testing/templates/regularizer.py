"""A regularizer of your own: a loss that keeps embeddings from collapsing."""

from __future__ import annotations

from jepakit import register
from jepakit.components.shared.ranks import gathered
from pydantic import PositiveFloat
from torch import Tensor, nn


@register("regularizer", "my_component")
class MyComponent(nn.Module):
    """L_reg = mean over dimensions of relu(floor - √(variance over the batch)): in [0, floor], and 0 if every dimension varies enough.

    ``forward`` may ask for more than s_x, by name: see `jepakit.protocols.INPUTS`. The slot adds the field ``weight``.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        floor: Standard deviation below which a dimension is penalised.
    """

    def __init__(self, *, floor: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, s_x: Tensor) -> Tensor:
        """``s_x`` [B, D] -> scalar."""
        deviation = (gathered(s_x).var(dim=0) + 1e-4).sqrt()  # over the rows of all ranks; the root of zero has no finite gradient
        return (self.floor - deviation).relu().mean()
