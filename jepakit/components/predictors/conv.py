"""SPR's transition model: convolutions on feature maps."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from jepakit.components.predictors.actions import Actions
from jepakit.components.shared.min_max import min_max
from jepakit.registry import register

if TYPE_CHECKING:
    from torchrl.data import TensorSpec


@register("predictor", "conv")
class ConvPredictor(nn.Module):
    """ŝ_y = minmax(relu(W₂ ∗ BatchNorm(relu(W₁ ∗ [s_x, a] + b₁)) + b₂)), with s_x seen as C feature maps of h x w and 3x3 convolutions W.

    The action joins as one plane for each of its entries (one-hot if discrete), constant over the map. ``min_max`` rescales each ŝ_y to
    [0, 1] by its smallest and its largest entry. It fits an encoder whose s_x is a flattened feature map, channel by channel, on the same
    scale: ``nature_cnn`` with ``dim: null`` and ``min_max: true``.

    In training, BatchNorm uses the statistics of the minibatch, at each step of the horizon its own. A row's prediction therefore depends
    on the other rows, which adds an implicit contrast between them. Planning and diagnostics use the running averages of all steps.

    Source: Schwarzer et al. 2021, Data-Efficient RL with Self-Predictive Representations (SPR), its transition model (64 channels of 7x7),
    in the order of the authors' code: ReLU, then BatchNorm. Continuous actions are an addition.

    Args:
        channels: C; 64 in SPR.
        rows: h, the height of a feature map; w follows from D. Null: the maps are square.
        min_max: Whether ŝ_y is rescaled to [0, 1], as in SPR.

    Raises:
        ValueError: D is not C · h · w.
    """

    def __init__(
        self,
        embedding_width: int,
        action_spec: TensorSpec,
        *,
        channels: PositiveInt = 64,
        rows: PositiveInt | None = None,
        min_max: bool = True,
    ) -> None:
        super().__init__()
        if embedding_width % channels:
            raise ValueError(f"channels {channels} does not divide the embedding's width of {embedding_width}")
        size = embedding_width // channels
        height = isqrt(size) if rows is None else rows
        if size % height or (rows is None and height * height != size):
            shape = "are not square: give their rows" if rows is None else f"do not form rows of equal length at rows {rows}"
            raise ValueError(f"channels {channels} of an embedding of width {embedding_width} have {size} entries, which {shape}")
        self.shape = (channels, height, size // height)  #: of s_x
        self.min_max = min_max
        self.actions = Actions(action_spec)
        self.net = nn.Sequential(
            nn.Conv2d(channels + self.actions.width, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
        )

    def forward(self, s_x: Tensor, action: Tensor) -> Tensor:
        """``s_x`` [B, D], ``action`` [B] (int64) or [B, A] (float) -> ŝ_y [B, D]."""
        maps = s_x.unflatten(-1, self.shape)  # [B, C, h, w]
        planes = self.actions.vectors(action, s_x.dtype)[:, :, None, None].expand(-1, -1, *self.shape[1:])  # [B, A, h, w]
        s_y_hat = self.net(torch.cat((maps, planes), dim=1)).flatten(1)
        return min_max(s_y_hat) if self.min_max else s_y_hat
