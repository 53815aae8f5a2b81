"""The two kinds of target encoder: a copy of the online encoder, or the online encoder itself."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class CopiedEncoder(nn.Module):
    """Starts as an exact copy of the online encoder; its weights are its own, and no gradient reaches them."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D], without gradient."""
        return self.encoder(pixels)


class OnlineEncoder(nn.Module):
    """Uses the online encoder without registering it, so its parameters are trained and saved only once."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._online = (encoder,)  # in a tuple, so that torch does not register the module here

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D]."""
        return self._online[0](pixels)

    def update(self, encoder: nn.Module) -> None:
        """Hold ``encoder``. It is a different one only if this module was copied without it."""
        self._online = (encoder,)
