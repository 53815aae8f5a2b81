"""A projector of your own: a head between embeddings and the objective."""

from __future__ import annotations

from jepakit import register
from pydantic import PositiveInt
from torch import Tensor, nn


@register("projector", "my_component")
class MyComponent(nn.Module):
    """z = LayerNorm(W s + b): the objective compares vectors of equal length.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        dim: Width P of the projection.
    """

    def __init__(self, embedding_width: int, *, dim: PositiveInt = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(embedding_width, dim), nn.LayerNorm(dim))

    def forward(self, s: Tensor) -> Tensor:
        """``s`` [*, D] -> [*, P]."""
        return self.layers(s)
