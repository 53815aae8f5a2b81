"""A model of the episode's end along the predictor's roll-outs, for planning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from jepakit.components.auxiliaries.heads import StepHead
from jepakit.components.shared import ranks
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("auxiliary", "termination_model")
class TerminationModel(StepHead):
    """L_aux = -log p(d[k] | ŝ[k], a[k]): whether step k ends the episode for good, with ŝ[0] = s_x and then the predictor's own ŝ_y.

    The binary cross-entropy, a mean over all steps of the windows that lie in their episode. A limit of time is no termination. Gradients
    reach predictor and encoder.

    Source: Hafner et al. 2021, Mastering Atari with Discrete World Models (DreamerV2), Eq. 2 (its discount predictor), trained on
    predictions as the reward of TD-MPC (Hansen et al. 2022) is; ``hidden`` is a choice.

    Args:
        hidden: Width of the head's hidden layer.
    """

    def __init__(self, action_spec: TensorSpec, embedding_width: int, *, hidden: PositiveInt = 128) -> None:
        super().__init__(action_spec, embedding_width, hidden)

    def forward(self, s_hat: Tensor, s_hat_action: Tensor, s_hat_terminated: Tensor) -> Tensor:
        """``s_hat`` [M, D], ``s_hat_action`` [M] (int64) or [M, A] (float), ``s_hat_terminated`` [M, 1] -> scalar."""
        ended = s_hat_terminated.squeeze(-1).float()
        return ranks.mean(F.binary_cross_entropy_with_logits(self.told(s_hat, s_hat_action).squeeze(-1), ended, reduction="none"))

    def continues(self, s: Tensor, action: Tensor) -> Tensor:
        """The probability [*] that the episode goes on after ``action`` [*] (int64) or [*, A] (float) at ``s`` [*, D]."""
        return torch.sigmoid(-self.told(s, action).squeeze(-1))
