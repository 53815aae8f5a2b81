"""Barlow Twins: predictions and targets agree in every dimension, and no two dimensions are redundant."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.shared.ranks import gathered
from jepakit.registry import register


@register("regularizer", "barlow")
class BarlowTwins(nn.Module):
    """L_reg = Σ_i (1 - C_ii)² + redundancy · Σ_{i≠j} C_ij², with C the cross-correlation of ŝ_y and s_y over the batch: from 0 to about D.

    Both sums run over dimensions, as in the paper. The loss is D if nothing correlates (at the start, or after a collapse) and up to 4 D if
    ŝ_y and s_y are opposed, whatever the embeddings' scale. Its diagonal also acts as an objective: it compares what the objective
    compares. s_y has a gradient only if the target lets one through.

    Source: Zbontar et al. 2021, Barlow Twins: Self-Supervised Learning via Redundancy Reduction, Eqs. 1 and 2.

    Args:
        redundancy: λ, the factor of the off-diagonal terms; 5e-3 in the paper.
        eps: Added to the variances when ŝ_y and s_y are standardised, as in batch normalisation; embeddings with less variance count as
            collapsed.
    """

    def __init__(self, *, redundancy: NonNegativeFloat = 5e-3, eps: PositiveFloat = 1e-5) -> None:
        super().__init__()
        self.redundancy = redundancy
        self.eps = eps

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y, both [M, D] -> scalar."""
        predicted, target = (F.batch_norm(s, None, None, training=True, eps=self.eps) for s in map(gathered, (s_y_hat, s_y)))
        correlations = predicted.T @ target / len(target)  # [D, D]
        diagonal = correlations.diagonal()
        redundant = correlations.square().sum() - diagonal.square().sum()
        return (1 - diagonal).square().sum() + self.redundancy * redundant
