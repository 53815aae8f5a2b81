"""No augmentation."""

from __future__ import annotations

from torch import Tensor, nn

from jepakit.registry import register


@register("augmentation", "none")
class NoAugmentation(nn.Module):
    """Returns stacks unchanged and draws no random numbers."""

    def forward(self, pixels: Tensor) -> Tensor:
        """``pixels`` [B, K, C, H, W] -> the same."""
        return pixels
