"""The autoencoder: embeddings from which the pixels can be drawn again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

SCALE = 8  #: rows of pixels to one of the decoder's first map


@register("auxiliary", "reconstruction")
class Reconstruction(nn.Module):
    """L_aux = mean squared error of the pixels of all K frames, decoded from s_x: the autoencoder that JEPA does without.

    A mean over batch and pixels, which are scaled to [0, 1] (float observations stay as they are): at most 0.25 for a decoder that draws
    grey, and far less where one background fills the frame; times K · C · H · W it is a sum over pixels. The decoder is a linear layer and
    two transposed convolutions, to 2 and to 8 times the height and width, cropped to the frame: a choice, and cheaper than the paper's
    four layers.

    Source: Yarats et al. 2021, Improving Sample Efficiency in Model-Free Reinforcement Learning from Images (SAC-AE), the loss of its
    regularized autoencoder, but for the weight decay on the decoder. Kenneweg et al., JEPA for RL, section 1 has JEPA replace such
    autoencoders.

    Args:
        channels: Channels of the decoder's hidden layers; the paper has 32.
        penalty: λ_z, the factor of ½ ‖s_x‖² (a mean over the batch) added to the loss; the paper has 1e-6.
    """

    def __init__(self, frames: FrameShape, embedding_width: int, *, channels: PositiveInt = 32, penalty: NonNegativeFloat = 1e-6) -> None:
        super().__init__()
        self.frames = frames
        self.penalty = penalty
        rows, columns = (math.ceil(side / SCALE) for side in (frames.height, frames.width))
        self.decoder = nn.Sequential(
            nn.Linear(embedding_width, channels * rows * columns),
            nn.Unflatten(-1, (channels, rows, columns)),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, channels, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, frames.frames * frames.channels, kernel_size=SCALE // 2, stride=SCALE // 2),
        )

    def forward(self, s_x: Tensor, pixels: Tensor) -> Tensor:
        """``s_x`` [B, D], ``pixels`` [B, K, C, H, W] (uint8, or float) -> scalar."""
        target = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        return F.mse_loss(self.decode(s_x), target) + self.penalty * s_x.square().sum(dim=-1).mean() / 2

    def decode(self, s_x: Tensor) -> Tensor:
        """``s_x`` [B, D] -> the frames drawn from it, [B, K, C, H, W], near [0, 1] (to look at, as well)."""
        drawn = self.decoder(s_x)[..., : self.frames.height, : self.frames.width]
        return drawn.reshape(-1, *self.frames)
