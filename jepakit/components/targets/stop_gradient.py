"""No second encoder: the online one, through which the target sends no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from jepakit.components.targets.encoders import OnlineEncoder
from jepakit.registry import register


@register("target", "stop_gradient")
class StopGradient(OnlineEncoder):
    """θ̄ = θ, without gradient: s_y = stopgrad(V(θ, y)).

    What ``ema`` is at decay 0, without the copy. The gradient reaches the encoder through x alone; what keeps the embeddings from
    collapsing is then, in SimSiam, the predictor.

    Source: Chen and He 2021, Exploring Simple Siamese Representation Learning, Eq. 3.
    """

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D], without gradient."""
        return super().forward(pixels)
