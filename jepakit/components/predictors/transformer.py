"""A causal transformer predictor: all steps of the horizon in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.components.predictors.actions import Actions
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "transformer")
class TransformerPredictor(nn.Module):
    """Causal transformer over the tokens (s_x, a₀, …, a_{H-1}); ŝ_y[k] is read at a_{k-1}, which sees s_x and the actions up to it.

    No prediction is fed back in, so a whole horizon costs one pass. Positions are sines and cosines, so the horizon has no maximum. One
    step is an unroll of length 1.

    Source: Vaswani et al. 2017, Attention Is All You Need, sections 3.2.3 (causal mask) and 3.5 (positions); Xiong et al. 2020, On Layer
    Normalization in the Transformer Architecture (pre-norm). The token sequence is a choice.

    Args:
        dim: Width of the tokens; even.
        heads: Attention heads; must divide ``dim``.
        depth: Number of transformer blocks, each with an MLP of 4 · ``dim``.

    Raises:
        ValueError: ``dim`` is odd, or ``heads`` does not divide it.
    """

    def __init__(
        self,
        embedding_width: int,
        action_spec: TensorSpec,
        *,
        dim: PositiveInt = 64,
        heads: PositiveInt = 4,
        depth: PositiveInt = 2,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim {dim} is odd: a position needs as many sines as cosines")
        if dim % heads:
            raise ValueError(f"heads {heads} does not divide dim {dim}")
        self.actions = Actions(action_spec)
        self.embed_s_x = nn.Linear(embedding_width, dim)
        self.embed_action = nn.Linear(self.actions.width, dim)
        # nn.TransformerEncoder would start every layer from the same weights
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, embedding_width)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        return self.unroll(s_x, action[:, None]).squeeze(1)

    def unroll(self, s_x: Tensor, actions: Tensor) -> Tensor:
        """``s_x`` [B, D], ``actions`` [B, H] (int64) or [B, H, A] (float) -> ŝ_y of each of the H steps, [B, H, D]."""
        a = self.actions.vectors(actions, s_x.dtype)
        tokens = torch.cat((self.embed_s_x(s_x)[:, None], self.embed_action(a)), dim=1)  # [B, 1 + H, dim]
        tokens = tokens + positions(*tokens.shape[1:]).to(tokens)
        later = torch.ones(2 * tokens.shape[1:2], dtype=torch.bool, device=tokens.device).triu(1)
        for block in self.blocks:
            tokens = block(tokens, src_mask=later)
        return self.out(self.norm(tokens[:, 1:]))


def positions(length: int, dim: int) -> Tensor:
    """sin(p / 10000^(2i/dim)) and the cosine of the same, interleaved: [length, dim]."""
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, dim, 2) / dim)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
