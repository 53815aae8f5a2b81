"""A planner of your own: searches for a sequence of actions that the predictor's roll-outs judge to be good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jepakit import register
from pydantic import PositiveInt
from torch import Tensor

if TYPE_CHECKING:
    from jepakit.protocols import Score
    from torchrl.data import TensorSpec


@register("planner", "my_component")
class MyComponent:
    """The best of sequences drawn at random ("random shooting") and of those that the policy proposes.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        samples: Sequences drawn.
    """

    def __init__(self, action_spec: TensorSpec, *, samples: PositiveInt = 256) -> None:
        self.action_spec = action_spec
        self.samples = samples

    def __call__(self, score: Score, proposals: Tensor, previous: Tensor, going_on: Tensor) -> Tensor:
        """``proposals`` [N, P, H, ...] and ``previous`` [N, H, ...] -> a plan [N, H, ...]; its first action is taken."""
        envs, steps = previous.shape[:2]
        drawn = self.action_spec.rand(torch.Size((envs, self.samples, steps))).to(previous.device)
        actions = torch.cat((drawn, proposals), dim=1)  # [N, S, H, ...]
        return actions[torch.arange(envs), score(actions).argmax(dim=1)]
