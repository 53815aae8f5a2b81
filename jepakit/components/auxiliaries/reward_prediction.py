"""Reward prediction: embeddings hold what determines the next reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from jepakit.components.auxiliaries.heads import RewardHead
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("auxiliary", "reward_prediction")
class RewardPrediction(RewardHead):
    """L_aux = (r̂(s_x[t], a[t]) - r[t])², a mean over the batch: predicts the reward that follows.

    The reward is unscaled, so the loss has the scale of the env's rewards, squared. If the reward hardly varies (Cart Pole's is always 1),
    there is nothing to learn from it.

    Source: Gelada et al. 2019, DeepMDP: Learning Continuous Latent Space Models for Representation Learning, the reward loss of section 2,
    with the difference squared instead of absolute; ``hidden`` is a choice.

    Args:
        hidden: Width of the head's hidden layer.
    """

    def __init__(self, action_spec: TensorSpec, embedding_width: int, *, hidden: PositiveInt = 256) -> None:
        super().__init__(action_spec, embedding_width, hidden)

    def forward(self, s_x: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float), ``reward`` [B, 1] -> scalar."""
        return F.mse_loss(self.told(s_x, action), reward)
