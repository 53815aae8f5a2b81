"""SPR's second augmentation: images become brighter or darker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("augmentation", "intensity")
class Intensity(nn.Module):
    """Multiplies a stack by 1 + scale · clip(z, -2, 2) with z ~ N(0, 1), then rounds and clamps to 255.

    Each stack draws its own factor; its K frames share it. Black stays black, and white cannot become brighter. The papers multiply
    floats, without rounding or clamping.

    Source: Schwarzer et al. 2021, Data-Efficient Reinforcement Learning with Self-Predictive Representations (SPR), its data augmentation;
    Yarats, Kostrikov and Fergus 2021 (DrQ), its comparison of augmentations.

    Args:
        scale: Standard deviation of the factor before clipping; 0.05 in SPR's code, 0.1 in DrQ's comparison.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(self, frames: FrameShape, *, scale: Annotated[float, Field(ge=0, le=0.5)] = 0.05) -> None:
        super().__init__()
        refuse_vectors("intensity", frames)
        self.scale = scale

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [B, K, C, H, W] -> uint8, the same shape."""
        factors = 1 + self.scale * torch.randn(len(pixels), 1, 1, 1, 1, device="cpu").clamp_(-2, 2)
        return pixels.float().mul_(factors.to(pixels.device)).round_().clamp_(max=255).to(torch.uint8)
