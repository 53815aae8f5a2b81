"""The paper's target encoder: an exponential moving average of the online encoder."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from jepakit.components.shared.following import follow, tensors
from jepakit.components.targets.encoders import CopiedEncoder
from jepakit.registry import register


@register("target", "ema")
class EMA(CopiedEncoder):
    """θ̄ <- decay · θ̄ + (1 - decay) · θ after every optimizer step; starts as an exact copy; no gradient.

    Floating-point buffers are averaged like parameters; integer buffers are copied. With ``schedule: cosine`` the decay rises over the run
    as 1 - (1 - decay) · (cos(π · progress) + 1) / 2, where progress (BYOL's k / K) is the share of env steps collected so far.

    Source: Kenneweg et al., JEPA for RL, section 2 (Input and Encoder), decay 0.99; Grill et al. 2020, Bootstrap Your Own Latent, Eq. 1,
    and its implementation details for the schedule, from 0.996.

    Args:
        decay: Share of θ̄ that each optimizer step keeps. The half-life is ln 2 / (1 - decay) *updates*, 69 at 0.99, so epochs and
            minibatches set the rate per env step.
        schedule: ``constant``, as in the paper, or ``cosine``: from ``decay`` at the start to 1, a fixed target, at the end.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        decay: Annotated[float, Field(ge=0, le=1)] = 0.99,
        schedule: Literal["constant", "cosine"] = "constant",
    ) -> None:
        super().__init__(encoder)
        self.decay = decay
        self.schedule = schedule
        self.tau = decay  #: the decay at this point of the run

    def anneal(self, progress: float) -> None:
        """Set the decay for this round of updates; ``progress`` goes from 0 to 1 over the run."""
        if self.schedule == "cosine":
            self.tau = 1 - (1 - self.decay) * (math.cos(math.pi * progress) + 1) / 2

    def update(self, encoder: nn.Module) -> None:
        """Move θ̄ towards θ; call it after each optimizer step."""
        follow(tensors(self.encoder), tensors(encoder), self.tau)
