"""The two ways in which a target has an encoder: a copy of the online one, or the online one itself."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class CopiedEncoder(nn.Module):
    """Starts as an exact copy of the online encoder, with weights of its own that no gradient reaches."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D], without gradient."""
        return self.encoder(pixels)


class OnlineEncoder(nn.Module):
    """The online encoder, of which this module has no parameters: they are trained and saved once, where they belong."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._online = (encoder,)  # a tuple, because a module that is an attribute is registered

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``pixels`` [*, K, C, H, W] -> s_y [*, D]."""
        return self._online[0](pixels)

    def update(self, encoder: nn.Module) -> None:
        """Hold ``encoder``: the same as ever, unless this module was copied without it."""
        self._online = (encoder,)
