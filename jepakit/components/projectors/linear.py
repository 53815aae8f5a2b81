"""A linear map between embeddings and the objective."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.registry import register


@register("projector", "linear")
class LinearProjector(nn.Module):
    """z = W s + b: the objective constrains ``dim`` directions of the embedding and leaves the others free.

    Source: Chen et al. 2020, A Simple Framework for Contrastive Learning (SimCLR), section 4.2, which compares it with an MLP and with no
    projector.

    Args:
        dim: Width P of the projection.
    """

    def __init__(self, embedding_width: int, *, dim: PositiveInt = 256) -> None:
        super().__init__()
        self.project = nn.Linear(embedding_width, dim)

    def forward(self, s: Tensor) -> Tensor:
        """``s`` [*, D] -> [*, P]."""
        return self.project(s)
