"""The paper's objective: squared Euclidean distance."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.registry import register


@register("objective", "l2")
class L2(nn.Module):
    """L_JEPA = ‖ŝ_y - s_y‖²: a sum over the embedding's dimensions (d_emb times ``mse_loss``).

    Scale: D times the squared scale of the embeddings. For two independent embeddings of unit variance it is 2 D.

    Source: Kenneweg et al., JEPA for RL, Eq. 1.
    """

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y [M, D] -> [M]; or [M, N, D] -> [M, N]."""
        return (s_y_hat - s_y).square().sum(dim=-1)
