"""An auxiliary term of your own: a further loss on embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepakit import register
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from jepakit import FrameShape


@register("auxiliary", "my_component")
class MyComponent(nn.Module):
    """L_aux = mean squared error of a thumbnail of the newest frame, predicted from s_x by one linear layer.

    ``forward`` may ask for other inputs by name: see `jepakit.protocols.INPUTS`. The slot adds the field ``weight``.

    Source: a choice. (Name authors, year, title and equation, if there are any.)

    Args:
        size: Rows and columns of the thumbnail.
    """

    def __init__(self, frames: FrameShape, embedding_width: int, *, size: PositiveInt = 4) -> None:
        super().__init__()
        self.size = size
        self.head = nn.Linear(embedding_width, frames.channels * size * size)

    def forward(self, s_x: Tensor, pixels: Tensor) -> Tensor:
        """``s_x`` [B, D], ``pixels`` [B, K, C, H, W] -> scalar."""
        thumbnail = F.adaptive_avg_pool2d(pixels[:, -1].float() / 255, self.size)  # [B, C, size, size]
        return F.mse_loss(self.head(s_x), thumbnail.flatten(1))
