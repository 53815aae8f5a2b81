"""The paper's predictor: a two-layer MLP that receives the action after its first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.predictors.actions import Actions
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "mlp")
class MLPPredictor(nn.Module):
    """ŝ_y = W₂ · relu(W₁ s_x + b₁ + W_a a) + b₂ with a one-hot: the projected action is added after the first layer.

    Continuous actions enter unchanged.

    Source: Kenneweg et al., JEPA for RL, section 2 (Predictor). The paper fixes two layers and where the action enters; ``hidden`` and
    the ReLU after the sum are choices.

    Args:
        hidden: Width of the hidden layer. The paper keeps the predictor small, so that the encoder does the work.
    """

    def __init__(self, embedding_width: int, action_spec: TensorSpec, *, hidden: PositiveInt = 256) -> None:
        super().__init__()
        self.actions = Actions(action_spec)
        self.first = nn.Linear(embedding_width, hidden)
        self.action = nn.Linear(self.actions.width, hidden, bias=False)
        self.second = nn.Linear(hidden, embedding_width)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        return self.second(F.relu(self.first(s_x) + self.action(self.actions.vectors(action, s_x.dtype))))
