"""The transformer block of the encoders."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A pre-norm transformer block that computes only the requested rows of its output."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, queries: slice = slice(None)) -> Tensor:
        """[B, L, D] -> the rows ``queries`` of the block's output, [B, Q, D]."""
        normed = self.norm_attention(tokens)
        query = self.query(normed[:, queries])
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = attention(*(x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value)))
        tokens = tokens[:, queries] + self.project(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm_mlp(tokens))

    def weights(self, tokens: Tensor, queries: slice = slice(None)) -> Tensor:
        """[B, L, D] -> how much each of the rows ``queries`` attends to each token: [B, heads, Q, L], which sums to 1 over L."""
        normed = self.norm_attention(tokens)
        key, _ = self.key_value(normed).chunk(2, dim=-1)
        query, key = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.query(normed[:, queries]), key))
        return ((query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)).float().softmax(dim=-1)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v over [B, heads, rows, d]."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value)
    # On a CPU, with some 70 tokens, the fused kernel's bf16 backward is many times slower than these steps, and softmax is slower in bf16.
    weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return weights.float().softmax(dim=-1).to(value.dtype) @ value
