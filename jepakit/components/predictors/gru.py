"""A recurrent predictor: many steps ahead without passing through an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.components.predictors.actions import Actions
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "gru")
class GRUPredictor(nn.Module):
    """h₀ = W s_x + b, h_k = GRU(h_{k-1}, a_{k-1}), ŝ_y[k] = W' h_k + b': an open loop over the actions.

    Over a horizon the hidden state is carried on instead of the prediction, so it can hold what an embedding does not. One step is an
    unroll of length 1.

    Source: Cho et al. 2014, Learning Phrase Representations using RNN Encoder-Decoder, section 2.3, for the unit (PyTorch applies the
    reset gate after the matrix product); Guo et al. 2022, BYOL-Explore, for a recurrent cell that runs open-loop over actions, with a
    predictor of each later embedding on top. Theirs starts from a belief over the history; starting from s_x, which sees K frames, is a
    choice.

    Args:
        hidden: Width of the hidden state.
    """

    def __init__(self, embedding_width: int, action_spec: TensorSpec, *, hidden: PositiveInt = 256) -> None:
        super().__init__()
        self.actions = Actions(action_spec)
        self.start = nn.Linear(embedding_width, hidden)
        self.gru = nn.GRU(self.actions.width, hidden, batch_first=True)
        self.out = nn.Linear(hidden, embedding_width)

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        return self.unroll(s_x, action[:, None]).squeeze(1)

    def unroll(self, s_x: Tensor, actions: Tensor) -> Tensor:
        """``s_x`` [B, D], ``actions`` [B, H] (int64) or [B, H, A] (float) -> ŝ_y of each of the H steps, [B, H, D]."""
        states, _ = self.gru(self.actions.vectors(actions, s_x.dtype), self.start(s_x)[None])
        return self.out(states)
