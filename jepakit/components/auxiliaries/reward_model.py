"""A model of the reward along the predictor's roll-outs, for planning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from jepakit.components.auxiliaries.heads import RewardHead
from jepakit.components.shared import ranks
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("auxiliary", "reward_model")
class RewardModel(RewardHead):
    """L_aux = (r̂(ŝ[k], a[k]) - r[k])² over the steps k of each window, with ŝ[0] = s_x and then the predictor's own ŝ_y.

    A mean over all steps that lie in their episode. The head therefore learns the reward where planning asks for it: on predictions, as
    far ahead as ``jepa.horizon``. Gradients reach predictor and encoder. The reward is unscaled, so the loss has the scale of the env's
    rewards, squared: its ``weight`` should make up for that.

    Source: Hansen et al. 2022, Temporal Difference Learning for Model Predictive Control (TD-MPC), Eq. 9, without its weights that
    fall with k; ``hidden`` is a choice.

    Args:
        hidden: Width of the head's hidden layer.
    """

    def __init__(self, action_spec: TensorSpec, embedding_width: int, *, hidden: PositiveInt = 128) -> None:
        super().__init__(action_spec, embedding_width, hidden)

    def forward(self, s_hat: Tensor, s_hat_action: Tensor, s_hat_reward: Tensor) -> Tensor:
        """``s_hat`` [M, D], ``s_hat_action`` [M] (int64) or [M, A] (float), ``s_hat_reward`` [M, 1] -> scalar."""
        return ranks.mean(F.mse_loss(self.reward(s_hat, s_hat_action), s_hat_reward.squeeze(-1), reduction="none"))
