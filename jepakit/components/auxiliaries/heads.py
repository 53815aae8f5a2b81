"""Shared by auxiliary terms: a small MLP, and one that tells a number of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchrl.modules import MLP

from jepakit.components.shared.actions import ActionNumbers

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


def head(width: int, hidden: int, out: int) -> MLP:
    """[*, width] -> [*, out], with one hidden layer and ReLU."""
    return MLP(in_features=width, out_features=out, num_cells=[hidden], activation_class=nn.ReLU)


class StepHead(nn.Module):
    """Tells one number of a step from where it starts and its action."""

    def __init__(self, action_spec: TensorSpec, embedding_width: int, hidden: int) -> None:
        super().__init__()
        self.numbers = ActionNumbers(action_spec)
        self.head = head(embedding_width + self.numbers.width, hidden, 1)

    def told(self, s: Tensor, action: Tensor) -> Tensor:
        """[*, 1] of ``action`` [*] (int64) or [*, A] (float) at ``s`` [*, D]."""
        told: Tensor = self.head(torch.cat((s, self.numbers(action)), dim=-1))
        return told


class RewardHead(StepHead):
    """Tells the reward of a step, also to a planner (`jepakit.protocols.PredictsReward`)."""

    def reward(self, s: Tensor, action: Tensor) -> Tensor:
        """The expected reward [*] of ``action`` [*] (int64) or [*, A] (float) at ``s`` [*, D]."""
        return self.told(s, action).squeeze(-1)
