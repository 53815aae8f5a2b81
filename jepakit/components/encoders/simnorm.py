"""SimNorm: an embedding made of points on simplices."""

from __future__ import annotations

from torch import Tensor, nn


class SimNorm(nn.Module):
    """Splits an embedding into groups and applies a softmax to each, which makes it a point on a simplex.

    This bounds s_x without a LayerNorm: entries lie in [0, 1], and each group sums to 1.

    Source: Hansen et al. 2024, TD-MPC2, section 3.1 (SimNorm, after Lavoie et al. 2023), groups of 8.

    Args:
        width: D.
        group: Entries in a group.

    Raises:
        ValueError: ``group`` does not divide ``width``.
    """

    def __init__(self, width: int, group: int) -> None:
        super().__init__()
        if width % group:
            raise ValueError(f"simnorm {group} does not divide the embedding's width of {width}")
        self.group = group

    def forward(self, s: Tensor) -> Tensor:
        """[*, D] -> [*, D]."""
        return s.unflatten(-1, (-1, self.group)).softmax(dim=-1).flatten(-2)
