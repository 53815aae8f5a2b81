"""An objective of your own: the distance between ŝ_y and s_y."""

from __future__ import annotations

from typing import Annotated

from jepakit import register
from pydantic import Field
from torch import Tensor, nn


@register("objective", "my_component")
class MyComponent(nn.Module):
    """L_JEPA = Σ_d |ŝ_y - s_y|^p: a sum over the embedding's dimensions.

    Scale: for p = 1 that of the embeddings, times D.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        p: The power; 2 is the paper's Eq. 1.
    """

    def __init__(self, *, p: Annotated[float, Field(ge=1)] = 1.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, s_y_hat: Tensor, s_y: Tensor) -> Tensor:
        """ŝ_y and s_y [M, D] -> [M]; or [M, N, D] -> [M, N]."""
        return (s_y_hat - s_y).abs().pow(self.p).sum(dim=-1)
