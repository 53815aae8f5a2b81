"""A predictor of the change from s_x to s_y."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.predictors.actions import Actions
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "residual")
class ResidualPredictor(nn.Module):
    """ŝ_y = s_x + Δ(s_x, a), by pre-norm blocks s <- s + W₂ · relu(W₁ · LayerNorm(s) + b₁ + W_a a) + b₂ that start from s_x.

    Two stacks one step apart share most of their frames, so their embeddings are alike and the blocks learn only the difference. Nothing
    normalises the sum, so ŝ_y keeps the scale of s_x.

    Source: Nagabandi et al. 2018, Neural Network Dynamics for Model-Based Deep RL with Model-Free Fine-Tuning, section IV-A (predict the
    change); Lee et al. 2025, SimBa, section 4 (the pre-norm residual block, with a hidden layer four times as wide). Every block receives
    the action after its first layer, as the paper's ``mlp`` does: a choice.

    Args:
        hidden: Width of each block's hidden layer.
        depth: Number of blocks.
    """

    def __init__(self, embedding_width: int, action_spec: TensorSpec, *, hidden: PositiveInt = 256, depth: PositiveInt = 2) -> None:
        super().__init__()
        self.actions = Actions(action_spec)
        self.blocks = nn.ModuleList(Block(embedding_width, self.actions.width, hidden) for _ in range(depth))

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        a = self.actions.vectors(action, s_x.dtype)
        s = s_x
        for block in self.blocks:
            s = block(s, a)
        return s


class Block(nn.Module):
    """A pre-norm residual MLP that receives the action after its first layer."""

    def __init__(self, width: int, action_width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, hidden)
        self.action = nn.Linear(action_width, hidden, bias=False)
        self.second = nn.Linear(hidden, width)

    def forward(self, s: Tensor, a: Tensor) -> Tensor:
        """[B, D] and the action's vector [B, A] -> [B, D]."""
        return s + self.second(F.relu(self.first(self.norm(s)) + self.action(a)))
