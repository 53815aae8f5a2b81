"""Inverse dynamics: what was done shows in what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.auxiliaries.heads import ActionNumbers, head
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("auxiliary", "inverse_dynamics")
class InverseDynamics(nn.Module):
    """L_aux = -log p(a[t] | s_x[t], s_x[t+1]): tells the action from the embeddings before and after it, so that they hold what it moves.

    Discrete actions: cross-entropy, log n at the start for n actions. Continuous ones, scaled to [-1, 1] by their bounds: mean squared
    error, the likelihood of a Gaussian of fixed width; a mean over the action's numbers, at most about 1 for a head that says 0. Both are
    means over the batch; the gradient runs through both embeddings.

    Source: Pathak et al. 2017, Curiosity-driven Exploration by Self-supervised Prediction, Eqs. 2 and 3.

    Args:
        hidden: Width of the head's hidden layer; the paper has 256.
    """

    def __init__(self, action_spec: TensorSpec, embedding_width: int, *, hidden: PositiveInt = 256) -> None:
        super().__init__()
        self.numbers = ActionNumbers(action_spec)
        self.head = head(2 * embedding_width, hidden, self.numbers.width)

    def forward(self, s_x: Tensor, s_x_next: Tensor, action: Tensor) -> Tensor:
        """``s_x`` and ``s_x_next`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> scalar."""
        guess = self.head(torch.cat((s_x, s_x_next), dim=-1))
        if self.numbers.num_actions:
            return F.cross_entropy(guess, action)
        return F.mse_loss(guess, self.numbers(action))
