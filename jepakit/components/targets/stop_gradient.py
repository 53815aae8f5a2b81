"""No second encoder: the target is the online encoder without gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from jepakit.components.targets.encoders import OnlineEncoder
from jepakit.registry import register


@register("target", "stop_gradient")
class StopGradient(OnlineEncoder):
    """θ̄ = θ, without gradient: s_y = stopgrad(V(θ, y)).

    It equals ``ema`` at decay 0, without the copy. Gradients reach the encoder through x only. In SimSiam the predictor then prevents a
    collapse.

    Source: Chen and He 2021, Exploring Simple Siamese Representation Learning, Eq. 3.
    """

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D], without gradient."""
        return super().forward(pixels)
