"""A predictor of your own: s_x and the action to the next embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jepakit import register
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "my_component")
class MyComponent(nn.Module):
    """ŝ_y = W₂ · relu(W₁ [s_x, a] + b₁) + b₂: an MLP on the embedding and the action, concatenated.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        hidden: Width of the hidden layer.
    """

    def __init__(self, embedding_width: int, action_spec: TensorSpec, *, hidden: PositiveInt = 256) -> None:
        super().__init__()
        self.num_actions: int | None = getattr(action_spec.space, "n", None)  #: None: continuous
        action_width = self.num_actions or action_spec.shape[-1]
        self.layers = nn.Sequential(nn.Linear(embedding_width + action_width, hidden), nn.ReLU(), nn.Linear(hidden, embedding_width))

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        a = F.one_hot(action, self.num_actions) if self.num_actions else action
        return self.layers(torch.cat((s_x, a.to(s_x.dtype)), dim=-1))
