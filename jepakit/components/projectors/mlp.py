"""BYOL's head between embeddings and the objective."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.registry import register


@register("projector", "mlp")
class MLPProjector(nn.Module):
    """z = W₂ · relu(LayerNorm(W₁ s + b₁)) + b₂: the objective shapes z, so s_x may keep information that z drops.

    BYOL and SPR also have a prediction head on the online side only: ``jepa.prediction_head``. Without it the predictor, which comes before
    the projector, plays that role.

    LayerNorm replaces BYOL's BatchNorm. Batch statistics would make a row's loss depend on the other rows of its minibatch (steps of one
    episode are alike, and ŝ_y and s_y are not the same rows). They would also add an implicit contrast between rows, which would confound
    a comparison of regularizers. BYOL works without them (Richemond et al. 2020).

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
