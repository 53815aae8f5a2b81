"""Squared near zero, absolute beyond: no single dimension dominates the gradient."""

from __future__ import annotations

from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.registry import register


@register("objective", "smooth_l1")
class SmoothL1(nn.Module):
    """L_JEPA = Σ_d e² / 2β where |e| < β, else |e| - β/2, with e = ŝ_y - s_y: a sum over dimensions, as in Eq. 1.

    Scale: near zero, 1/2β times that of ``l2``; beyond β, D times the scale of the embeddings, with a gradient of ±1 in each dimension.

    Source: Girshick 2015, Fast R-CNN, Eq. 3 (β = 1), which I-JEPA's code averages over dimensions; V-JEPA (Bardes et al. 2024) uses L1,
    which is β = 0.

    Args:
        beta: |e| at which the loss changes from quadratic to linear; 0 for L1.
    """

    def __init__(self, *, beta: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y [M, D] -> [M]; or [M, N, D] -> [M, N]."""
        return F.smooth_l1_loss(s_y_hat, s_y, reduction="none", beta=self.beta).sum(dim=-1)
