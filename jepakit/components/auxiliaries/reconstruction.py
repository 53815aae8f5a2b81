"""Reconstruction: decode the pixels from the embedding, as an autoencoder does."""

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

SCALE = 8  #: pixels per cell of the decoder's first feature map, along each side


@register("auxiliary", "reconstruction")
class Reconstruction(nn.Module):
    """L_aux = mean squared error of the pixels of all K frames, decoded from s_x: the autoencoder that JEPA does without.

    The error is a mean over batch and pixels, with uint8 pixels scaled to [0, 1] and float observations unscaled. A decoder that draws grey
    has at most 0.25, and far less if one background fills the frame. Multiply by K · C · H · W for a sum over pixels. The decoder is a
    linear layer and two transposed convolutions, which enlarge height and width 2 and 4 times; the result is cropped to the frame. It is a
    choice, and cheaper than the paper's four layers.

    Source: Yarats et al. 2021, Improving Sample Efficiency in Model-Free Reinforcement Learning from Images (SAC-AE), the loss of its
    regularized autoencoder, without the weight decay on the decoder. SAC-AE's code also reduces the targets to 5 bits and adds
    noise. In Kenneweg et al., JEPA for RL, section 1, JEPA replaces such autoencoders.

    Args:
        channels: Channels of the decoder's hidden layers; 32 in the paper.
        penalty: λ_z, the factor of ½ ‖s_x‖² (a mean over the batch) added to the loss; 1e-6 in the paper.
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
        """``s_x`` [B, D] -> reconstructed frames [B, K, C, H, W], roughly in [0, 1]; also of use for looking at them."""
        drawn = self.decoder(s_x)[..., : self.frames.height, : self.frames.width]
        return drawn.reshape(-1, *self.frames)
