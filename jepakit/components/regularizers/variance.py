"""The paper's regularizer: reward variance over the batch, up to 1."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.components.shared.ranks import gathered
from jepakit.registry import register


@register("regularizer", "variance")
class Variance(nn.Module):
    """L_reg = -min(1, mean over dimensions of the batch variance of s_x): in [-1, 0]; no gradient once the mean passes 1.

    The clamp is on the mean, so some dimensions may stay flat. The variance is the unbiased one over the minibatch.

    Source: Kenneweg et al., JEPA for RL, Eq. 2.
    """

    def forward(self, s_x: Tensor) -> Tensor:
        """``s_x`` [B, D] -> scalar."""
        return -gathered(s_x).var(dim=0).mean().clamp(max=1)
