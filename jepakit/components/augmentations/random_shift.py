"""DrQ's augmentation: shift the whole image by a few pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.components.shared.images import refuse_vectors
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape


@register("augmentation", "random_shift")
class RandomShift(nn.Module):
    """Shifts a stack by integers dy, dx drawn uniformly from [-pad, pad]: pads by replicating the border, then crops.

    Each stack draws its own shift; its K frames share it.

    Source: Yarats, Kostrikov and Fergus 2021, Image Augmentation Is All You Need (DrQ), its image shifts (84 x 84, pad 4).

    Args:
        pad: Largest shift in pixels, in each direction; 4 in the paper, for frames of 84 x 84.

    Raises:
        ValueError: The frames are state vectors.
    """

    def __init__(self, frames: FrameShape, *, pad: PositiveInt = 4) -> None:
        super().__init__()
        refuse_vectors("random_shift", frames)
        self.pad = pad

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [B, K, C, H, W] -> uint8, the same shape."""
        height, width = pixels.shape[-2:]
        # Always drawn on the CPU, so that one generator decides on every device.
        dy, dx = torch.randint(-self.pad, self.pad + 1, (2, len(pixels), 1), device="cpu").to(pixels.device)
        left, right = (pixels[..., edge].expand(*pixels.shape[:-1], self.pad) for edge in (slice(0, 1), slice(-1, None)))
        padded = torch.cat((left, pixels, right), dim=-1)
        # A shifted row is a slice of the padded source row; above and below the image the source row is the border's.
        rows = (torch.arange(height, device=pixels.device) + dy).clamp(0, height - 1)  # [B, H]
        images = torch.arange(pixels[0, ..., 0, 0].numel() * len(pixels), device=pixels.device).view(len(pixels), -1, 1)  # [B, K·C, 1]
        starts = (images * height + rows[:, None]) * padded.shape[-1] + (self.pad + dx)[:, None]  # [B, K·C, H]
        return padded.flatten().unfold(0, width, 1).index_select(0, starts.flatten()).view_as(pixels)
