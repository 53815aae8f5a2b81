"""BYOL's head between embeddings and the objective."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.registry import register


@register("projector", "mlp")
class MLPProjector(nn.Module):
    """z = W₂ · relu(LayerNorm(W₁ s + b₁)) + b₂: the objective shapes z, and s_x may keep what it has no use for.

    BYOL and SPR have a further prediction head on the online side alone. Here the predictor, which stands before the projector and is on
    the online side alone, plays that role.

    LayerNorm stands where BYOL has BatchNorm. Batch statistics would make a row's loss depend on which rows it is drawn with (steps of one
    episode are alike, and ŝ_y and s_y are not the same rows), and hide a contrast between rows that regularizers are compared without;
    BYOL works without them (Richemond et al. 2020).

    Source: Grill et al. 2020, Bootstrap Your Own Latent, implementation details (4096 to 256, for embeddings of 2048); Schwarzer et al.
    2021, Data-Efficient RL with Self-Predictive Representations, section 2 (projection heads).

    Args:
        hidden: Width of the hidden layer; a choice, for embeddings of some 64.
        dim: Width P of the projection.
    """

    def __init__(self, embedding_width: int, *, hidden: PositiveInt = 256, dim: PositiveInt = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(embedding_width, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, s: Tensor) -> Tensor:
        """``s`` [*, D] -> [*, P]."""
        return self.layers(s)
