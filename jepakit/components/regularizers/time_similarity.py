"""PLDM's temporal smoothness: stacks one step apart have embeddings close together."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.registry import register


@register("regularizer", "time_similarity")
class TimeSimilarity(nn.Module):
    """L_reg = ‖s_x[t] - s_x[t+1]‖², a mean over the batch: embeddings move slowly in time. It does not prevent collapse by itself.

    It sums over dimensions, so it has the scale of L_JEPA in Eq. 1 (D times ``mse_loss``). Gradients flow through both embeddings, and a
    constant embedding reaches the minimum, 0: add a regularizer that spreads embeddings, as PLDM does with VICReg's two terms.

    Source: Sobal et al. 2025, Learning from Reward-Free Offline Data: A Case for Planning with Latent Dynamics Models (L_time-sim).
    """

    def forward(self, s_x: Tensor, s_x_next: Tensor) -> Tensor:
        """``s_x`` and ``s_x_next``, both [B, D] -> scalar."""
        return (s_x - s_x_next).square().sum(dim=-1).mean()
