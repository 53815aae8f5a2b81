"""PLDM's temporal smoothness: what lies one step apart is embedded close together."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.registry import register


@register("regularizer", "time_similarity")
class TimeSimilarity(nn.Module):
    """L_reg = ‖s_x[t] - s_x[t+1]‖², a mean over the batch: embeddings move slowly in time. It does not prevent collapse by itself.

    A sum over dimensions, the scale of L_JEPA in Eq. 1 (D times ``mse_loss``). The gradient runs through both embeddings, and a constant
    embedding is its minimum, 0: put a regularizer beside it that spreads embeddings, as PLDM does with VICReg's two terms.

    Source: Sobal et al. 2025, Learning from Reward-Free Offline Data: A Case for Planning with Latent Dynamics Models (L_time-sim).
    """

    def forward(self, s_x: Tensor, s_x_next: Tensor) -> Tensor:
        """``s_x`` and ``s_x_next``, both [B, D] -> scalar."""
        return (s_x - s_x_next).square().sum(dim=-1).mean()
