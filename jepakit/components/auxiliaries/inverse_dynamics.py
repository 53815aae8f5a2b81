"""Inverse dynamics: predict the action from the embeddings before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.components.auxiliaries.heads import head
from jepakit.components.shared.actions import ActionNumbers
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("auxiliary", "inverse_dynamics")
class InverseDynamics(nn.Module):
    """L_aux = -log p(a[t] | s_x[t], s_x[t+1]): predicts the action, so that embeddings hold what actions change.

    Discrete actions: cross-entropy, about log n at the start for n actions. Continuous actions, scaled from their bounds to [-1, 1]: mean
    squared error over the action's numbers (the likelihood of a Gaussian of fixed width), at most about 1 for a head that predicts 0. Both
    are means over the batch. Gradients flow through both embeddings.

    Source: Pathak et al. 2017, Curiosity-driven Exploration by Self-supervised Prediction, Eqs. 2 and 3.

    Args:
        hidden: Width of the head's hidden layer; 256 in the paper.
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
