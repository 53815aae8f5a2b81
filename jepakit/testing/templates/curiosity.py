"""A curiosity of your own: how surprising a step was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepakit import register
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from jepakit import FrameShape


@register("curiosity", "my_component")
class MyComponent(nn.Module):
    """surprise[t] = mean squared error of a thumbnail of the next frame, predicted from the thumbnail now by one linear layer.

    ``surprise`` and ``loss`` may ask for other inputs by name: see `jepakit.protocols.STEP_INPUTS`. The slot adds the fields ``weight``,
    ``gamma``, ``episodic`` and ``memory``. Without weights, leave ``loss`` out.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        size: Rows and columns of the thumbnail.
    """

    def __init__(self, frames: FrameShape, *, size: PositiveInt = 4) -> None:
        super().__init__()
        self.size = size
        self.head = nn.Linear(frames.channels * size * size, frames.channels * size * size)

    def surprise(self, pixels: Tensor, pixels_next: Tensor) -> Tensor:
        """``pixels`` and ``pixels_next`` [M, K, C, H, W] -> [M]."""
        now, after = self._thumbnail(pixels), self._thumbnail(pixels_next)
        return (self.head(now) - after).square().mean(dim=-1)

    def loss(self, pixels: Tensor, pixels_next: Tensor) -> Tensor:
        """The mean surprise, a scalar."""
        return self.surprise(pixels, pixels_next).mean()

    def _thumbnail(self, pixels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(pixels[:, -1].float() / 255, self.size).flatten(1)
