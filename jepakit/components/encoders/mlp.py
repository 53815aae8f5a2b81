"""An MLP, for state vectors: what pixels are compared with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torchrl.modules import MLP

from jepakit.components.encoders.pixels import scale
from jepakit.registry import register

if TYPE_CHECKING:
    from jepakit.protocols import FrameShape

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@register("encoder", "mlp")
class MLPEncoder(nn.Module):
    """A plain MLP over all K frames' numbers, for state vectors: how much of a result is due to pixels.

    Whatever an observation holds is flattened into K · C · H · W numbers; a vector of S is [K, 1, 1, S]. Floats enter as they are, uint8
    as x/255. Every default is a choice.

    Args:
        hidden: Widths of the hidden layers; none makes it linear.
        dim: Width D of s_x.
        activation: What follows each hidden layer.
        final_norm: Whether a LayerNorm ends the encoder. It fixes the scale of s_x, and with it that of L_JEPA.
    """

    def __init__(
        self,
        frames: FrameShape,
        *,
        hidden: tuple[PositiveInt, ...] = (256,),
        dim: PositiveInt = 64,
        activation: Literal["relu", "gelu", "silu", "tanh"] = "relu",
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        self.net = MLP(in_features=math.prod(frames), out_features=dim, num_cells=list(hidden), activation_class=ACTIVATIONS[activation])
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """``pixels`` [*, K, C, H, W], uint8 or float -> s_x [*, D]."""
        numbers = scale(pixels, "unit") if pixels.dtype == torch.uint8 else pixels.float()
        return self.norm(self.net(numbers.flatten(-4)))
