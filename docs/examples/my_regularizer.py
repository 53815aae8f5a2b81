"""A regularizer of one's own, used by custom.yaml beside it."""

from pydantic import PositiveFloat
from torch import nn

from jepakit import register
from jepakit.components.shared.ranks import gathered


@register("regularizer", "hinge")
class Hinge(nn.Module):
    """Keeps each dimension's standard deviation above a floor.

    Args:
        floor: Below it a dimension is pushed up.
    """

    def __init__(self, *, floor: PositiveFloat = 1.0):
        super().__init__()
        self.floor = floor

    def forward(self, s_x):  # [B, D] -> scalar
        return (self.floor - (gathered(s_x).var(dim=0) + 1e-4).sqrt()).relu().mean()  # gathered: over the rows of all ranks
