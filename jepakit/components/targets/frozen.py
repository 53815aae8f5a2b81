"""A target that never learns."""

from __future__ import annotations

from torch import nn

from jepakit.components.shared.frozen import without_schedules
from jepakit.components.targets.encoders import CopiedEncoder
from jepakit.registry import register


@register("target", "frozen")
class Frozen(CopiedEncoder):
    """θ̄ never changes: it keeps the online encoder's initial weights, or those of a ``checkpoint``; no gradient.

    Its embeddings cannot collapse, and never learn anything about the task.

    Source: Burda et al. 2019, Exploration by Random Network Distillation, section 2.2 (a fixed, randomly initialised target network);
    Grill et al. 2020, Bootstrap Your Own Latent, Method and Table 5a (a network that predicts a fixed random target has better features
    than the target).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        without_schedules(self.encoder)

    def update(self, encoder: nn.Module) -> None:
        """Do nothing: the weights are fixed."""
